package jobengine

import (
	"strconv"
	"testing"

	"google.golang.org/protobuf/proto"

	jobenginev1 "jobengine.dev/clients/go/jobengine/v1"
)

const (
	deletedEvent = jobenginev1.WatchEvent_WATCH_EVENT_DELETED
	syncedEvent  = jobenginev1.WatchEvent_WATCH_EVENT_SYNCED
	pending      = jobenginev1.JobState_JOB_STATE_PENDING
	running      = jobenginev1.JobState_JOB_STATE_RUNNING
	succeeded    = jobenginev1.JobState_JOB_STATE_SUCCEEDED
)

type event = jobenginev1.WatchJobsResponse

func jobOf(name, uid string, state jobenginev1.JobState) *jobenginev1.Job {
	return &jobenginev1.Job{Name: name, Uid: uid, Status: &jobenginev1.JobStatus{State: state}}
}

func job(name string, state jobenginev1.JobState) *jobenginev1.Job {
	return jobOf(name, "uid-"+name, state)
}

func told(job *jobenginev1.Job, cursor string) *event {
	return &event{Event: jobenginev1.WatchEvent_WATCH_EVENT_STATUS, Job: job, Cursor: cursor}
}

func deleted(job *jobenginev1.Job, cursor string) *event {
	return &event{Event: deletedEvent, Job: job, Cursor: cursor}
}

func synced(cursor string, full bool) *event {
	return &event{Event: syncedEvent, Cursor: cursor, Full: full}
}

func folded(fold *jobsFold, messages ...*event) []*event {
	var events []*event
	for _, message := range messages {
		events = append(events, fold.fold(message)...)
	}
	return events
}

func interruptedAfter(jobs ...*jobenginev1.Job) *jobsFold {
	fold := newJobsFold("")
	for _, job := range jobs {
		fold.fold(told(job, ""))
	}
	fold.fold(synced("c1", true))
	fold.begin()
	return fold
}

func expect(t *testing.T, actual []*event, expected ...*event) {
	t.Helper()
	if len(actual) != len(expected) {
		t.Fatalf("got %v, want %v", actual, expected)
	}
	for i := range actual {
		if !proto.Equal(actual[i], expected[i]) {
			t.Errorf("event %d: got %v, want %v", i, actual[i], expected[i])
		}
	}
}

func TestFirstListIsToldAsItIs(t *testing.T) {
	messages := []*event{told(job("a", running), ""), told(job("b", running), ""), synced("c1", true)}
	expect(t, folded(newJobsFold(""), messages...), messages...)
}

func TestHeartbeatMovesTheCursorAndTellsNothing(t *testing.T) {
	fold := newJobsFold("")
	folded(fold, synced("c1", true))
	expect(t, folded(fold, &event{Event: jobenginev1.WatchEvent_WATCH_EVENT_HEARTBEAT, Cursor: "c2"}))
	if fold.cursor != "c2" {
		t.Errorf("cursor %q", fold.cursor)
	}
}

func TestCursorWithinAListIsNotResumedFrom(t *testing.T) {
	fold := newJobsFold("before")
	folded(fold, told(job("a", running), "midst"))
	if fold.cursor != "before" {
		t.Errorf("cursor %q", fold.cursor)
	}
}

// Of what it has known from before the cursor only the caller can tell what is missing.
func TestAFullListAfterABeginningFromACursorIsFullForTheCaller(t *testing.T) {
	fold := newJobsFold("c1")
	expect(t, folded(fold, synced("c2", false)), synced("c2", false))
	fold.begin()
	listed := told(job("a", running), "")
	expect(t, folded(fold, listed, synced("d1", true)), listed, synced("d1", true))
	fold.begin()
	expect(t, folded(fold, listed, synced("d1", true)), synced("d1", false))
}

func TestAReplicaThatLagsBehindTakesNothingBack(t *testing.T) {
	fold := interruptedAfter(job("a", running), job("b", succeeded))
	expect(t, folded(fold, told(job("a", pending), ""), told(job("b", running), ""), synced("c2", true)),
		synced("c2", false))
	expect(t, folded(fold, told(job("b", running), "")))
	later := told(job("a", succeeded), "")
	expect(t, folded(fold, later), later)
}

func TestUnchangedJobsAreNotToldAgain(t *testing.T) {
	fold := interruptedAfter(job("a", running), job("b", running))
	changed := told(job("b", succeeded), "")
	expect(t, folded(fold, told(job("a", running), ""), changed, synced("c2", true)), changed, synced("c2", false))
}

func TestJobThatVanishedIsLost(t *testing.T) {
	fold := interruptedAfter(job("a", running), job("b", running))
	lost := job("a", jobenginev1.JobState_JOB_STATE_LOST)
	lost.Status.Reason = jobenginev1.JobReason_JOB_REASON_DELETED
	lost.Status.Message = vanishedMessage
	expect(t, folded(fold, told(job("b", running), ""), synced("c2", true)), deleted(lost, ""), synced("c2", false))
}

func TestJobThatVanishedAfterItsEndKeepsItsEnd(t *testing.T) {
	fold := interruptedAfter(job("a", succeeded))
	expect(t, folded(fold, synced("c2", true)), deleted(job("a", succeeded), ""), synced("c2", false))
}

func TestNothingVanishedWhereOnlyChangesWereSent(t *testing.T) {
	fold := interruptedAfter(job("a", running), job("b", running))
	expect(t, folded(fold, synced("c2", false)), synced("c2", false))
}

func TestJobMadeAnewEndsTheOneBefore(t *testing.T) {
	fold := interruptedAfter(jobOf("a", "1", running))
	anew := told(jobOf("a", "2", running), "")
	events := folded(fold, anew)
	if len(events) != 2 || events[0].GetEvent() != deletedEvent || events[0].GetJob().GetUid() != "1" {
		t.Fatalf("got %v", events)
	}
	expect(t, events[1:], anew)
	expect(t, folded(fold, deleted(jobOf("a", "1", running), "")))
}

func TestDeletionOfAJobFromBeforeTheCursorIsTold(t *testing.T) {
	gone := deleted(job("a", running), "")
	expect(t, folded(newJobsFold("c1"), gone), gone)
}

// The list lacks it already, and its deletion comes after the list.
func TestAJobDeletedWhileTheListIsSentIsToldGoneOnce(t *testing.T) {
	fold := interruptedAfter(job("a", succeeded))
	expect(t, folded(fold, synced("c2", true), deleted(job("a", succeeded), "c3")),
		deleted(job("a", succeeded), ""), synced("c2", false))
	if fold.cursor != "c3" {
		t.Errorf("cursor %q", fold.cursor)
	}
}

// The next call begins where that one began, and tells it again.
func TestADeletionIsToldOnceThoughTheResumedCallIsCutShort(t *testing.T) {
	fold := interruptedAfter(job("a", succeeded))
	gone := deleted(job("a", succeeded), "c2")
	expect(t, folded(fold, gone), gone)
	for range 2 {
		fold.begin()
		expect(t, folded(fold, gone))
	}
	expect(t, folded(fold, synced("c2", false)), synced("c2", false))
}

// The list lacks it already; its deletion is told by the call that goes on from its SYNCED.
func TestAJobDeletedWhileTheListIsSentIsToldGoneOnceOverTwoCalls(t *testing.T) {
	fold := interruptedAfter(job("a", succeeded))
	expect(t, folded(fold, synced("c2", true)), deleted(job("a", succeeded), ""), synced("c2", false))
	fold.begin()
	expect(t, folded(fold, deleted(job("a", succeeded), "c3"), synced("c3", false)), synced("c3", false))
}

func TestWhatIsGoneStaysSoThoughAReplicaHasNotHeardOfIt(t *testing.T) {
	fold := interruptedAfter(job("a", running), job("b", running))
	folded(fold, synced("c2", false), deleted(job("a", succeeded), "c3"))
	fold.begin()
	expect(t, folded(fold, told(job("a", running), ""), told(job("b", running), ""), synced("d1", true)),
		synced("d1", false))
	expect(t, folded(fold, deleted(job("a", succeeded), "d2")))
}

func TestOnlySoManyDeletionsAreRemembered(t *testing.T) {
	fold := interruptedAfter()
	for number := range maxRememberedDeletions + 1 {
		folded(fold, deleted(job(strconv.Itoa(number), running), ""))
	}
	second, first := deleted(job("1", running), ""), deleted(job("0", running), "")
	expect(t, folded(fold, second, first), first)
}
