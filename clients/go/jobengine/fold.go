package jobengine

import (
	"google.golang.org/protobuf/proto"

	jobenginev1 "jobengine.dev/clients/go/jobengine/v1"
)

// maxRememberedDeletions is how many of the jobs that are gone are known to be; the server remembers
// as many.
const maxRememberedDeletions = 10_000

const vanishedMessage = "The job was removed while this watch was interrupted; how it ended can't be known here"

// jobsFold makes one story out of a watch of many jobs that is interrupted and resumed. It knows
// the jobs that the watch has told of, and what each further message changes about them.
//
// A resumed watch may begin with a full list again. Held against the jobs known from before, that
// gives only what changed meanwhile, and an end for each job that vanished.
type jobsFold struct {
	cursor string // where a new call should begin
	known  map[string]*jobenginev1.Job
	listed map[string]bool // by name
	// gone has the uids of jobs that were told gone, oldest is the order in which they were. A
	// deletion may be told again: by the call that goes on from the list in which the job was
	// missed, or by a replica that hears of it later.
	gone    map[string]bool
	oldest  []string
	listing bool
	whole   bool
}

func newJobsFold(cursor string) *jobsFold {
	return &jobsFold{
		cursor:  cursor,
		known:   map[string]*jobenginev1.Job{},
		listed:  map[string]bool{},
		gone:    map[string]bool{},
		listing: true,
	}
}

// begin says that a new call begins, with the cursor.
func (f *jobsFold) begin() {
	clear(f.listed)
	f.listing = true
}

// fold returns what the caller doesn't know yet of what this message tells.
func (f *jobsFold) fold(message *jobenginev1.WatchJobsResponse) []*jobenginev1.WatchJobsResponse {
	var news []*jobenginev1.WatchJobsResponse
	switch message.GetEvent() {
	case jobenginev1.WatchEvent_WATCH_EVENT_SYNCED:
		news = f.sync(message)
	case jobenginev1.WatchEvent_WATCH_EVENT_STATUS:
		news = f.update(message)
	case jobenginev1.WatchEvent_WATCH_EVENT_DELETED:
		news = f.remove(message)
	}
	// A cursor out of the midst of a list would leave out the rest of the list.
	if message.GetCursor() != "" && !f.listing {
		f.cursor = message.GetCursor()
	}
	return news
}

func (f *jobsFold) update(message *jobenginev1.WatchJobsResponse) []*jobenginev1.WatchJobsResponse {
	job := message.GetJob()
	if f.gone[job.GetUid()] {
		return nil
	}
	if f.listing {
		f.listed[job.GetName()] = true
	}
	known := f.known[job.GetName()]
	if known != nil && (proto.Equal(known, job) || lagsBehind(job, known)) {
		return nil
	}
	f.known[job.GetName()] = job
	if known != nil && known.GetUid() != job.GetUid() {
		f.rememberGone(known)
		return []*jobenginev1.WatchJobsResponse{vanished(known), message}
	}
	return []*jobenginev1.WatchJobsResponse{message}
}

func (f *jobsFold) remove(message *jobenginev1.WatchJobsResponse) []*jobenginev1.WatchJobsResponse {
	name, uid := message.GetJob().GetName(), message.GetJob().GetUid()
	if known := f.known[name]; known != nil && known.GetUid() != uid {
		return nil // its end was told when the next job of that name showed up
	}
	if f.gone[uid] {
		return nil
	}
	delete(f.known, name)
	f.rememberGone(message.GetJob())
	return []*jobenginev1.WatchJobsResponse{message}
}

func (f *jobsFold) sync(message *jobenginev1.WatchJobsResponse) []*jobenginev1.WatchJobsResponse {
	var news []*jobenginev1.WatchJobsResponse
	f.listing = false
	if message.GetFull() {
		for name, job := range f.known {
			if !f.listed[name] {
				delete(f.known, name)
				f.rememberGone(job)
				news = append(news, vanished(job))
			}
		}
	}
	clear(f.listed)
	// Full as the caller sees it: all jobs since its own beginning, not since the resumption.
	// Later on it has been told of every end.
	full := message.GetFull() && !f.whole
	f.whole = f.whole || message.GetFull()
	return append(news, &jobenginev1.WatchJobsResponse{
		Event:  message.GetEvent(),
		Cursor: message.GetCursor(),
		Full:   full,
	})
}

func (f *jobsFold) rememberGone(job *jobenginev1.Job) {
	f.gone[job.GetUid()] = true
	f.oldest = append(f.oldest, job.GetUid())
	if len(f.oldest) > maxRememberedDeletions {
		delete(f.gone, f.oldest[0])
		f.oldest = f.oldest[1:]
	}
}

// lagsBehind tells whether a replica, or a server before it, has told more of the same job already.
func lagsBehind(job, known *jobenginev1.Job) bool {
	if job.GetUid() != known.GetUid() {
		return false
	}
	return IsTerminal(known.GetStatus()) || job.GetStatus().GetState() < known.GetStatus().GetState()
}

func vanished(job *jobenginev1.Job) *jobenginev1.WatchJobsResponse {
	last := proto.CloneOf(job)
	if !IsTerminal(last.GetStatus()) {
		if last.Status == nil {
			last.Status = &jobenginev1.JobStatus{}
		}
		last.Status.State = jobenginev1.JobState_JOB_STATE_LOST
		last.Status.Reason = jobenginev1.JobReason_JOB_REASON_DELETED
		last.Status.Message = vanishedMessage
		last.Status.Active = nil
	}
	return &jobenginev1.WatchJobsResponse{
		Event: jobenginev1.WatchEvent_WATCH_EVENT_DELETED,
		Job:   last,
	}
}
