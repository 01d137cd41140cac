package jobengine

import (
	"context"
	"fmt"
	"iter"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	jobenginev1 "jobengine.dev/clients/go/jobengine/v1"
)

// WatchStatusOptions are the options of [Client.WatchStatus].
type WatchStatusOptions struct {
	// Cursor is that of an event seen earlier: only what changed since comes, which is nothing if
	// that one was the last.
	Cursor string
}

// WatchStatus yields a job's status as it is now, then each change, until it has ended.
//
// The last event is a terminal status, or the job's deletion. Interruptions are bridged; no event
// comes twice, and no heartbeat.
//
// Errors: ErrJobNotFound (there is no such job, or it is gone), ErrUnavailable (the interruption
// took longer than WithResumeFor allows).
func (c *Client) WatchStatus(
	ctx context.Context, name string, options WatchStatusOptions,
) iter.Seq2[*jobenginev1.WatchStatusResponse, error] {
	return c.watchStatus(ctx, name, options.Cursor, false)
}

func (c *Client) watchStatus(
	ctx context.Context, name, cursor string, established bool,
) iter.Seq2[*jobenginev1.WatchStatusResponse, error] {
	return func(yield func(*jobenginev1.WatchStatusResponse, error) bool) {
		request := &jobenginev1.WatchStatusRequest{
			Name:              name,
			Cursor:            cursor,
			HeartbeatInterval: durationpb.New(c.settings.heartbeat),
		}
		var latest *jobenginev1.WatchStatusResponse
		calls := stream[*jobenginev1.WatchStatusRequest, jobenginev1.WatchStatusResponse]{
			method:  stub.WatchStatus,
			request: request,
			begin:   func() {},
			// Nothing more comes after the cursor of a terminal status.
			complete:    func() bool { return latest == nil && cursor != "" },
			over:        func() bool { return latest != nil && isLast(latest) },
			silence:     c.settings.silence(),
			established: established,
		}
		// To the end that the server makes: a call that is cancelled just as it ends costs the server
		// memory for good (https://github.com/grpc/grpc/issues/43360).
		for message, err := range calls.messages(ctx, c) {
			if err != nil {
				yield(nil, err)
				return
			}
			if message.GetCursor() != "" {
				request.Cursor = message.GetCursor()
			}
			if message.GetEvent() == jobenginev1.WatchEvent_WATCH_EVENT_HEARTBEAT || repeats(latest, message) {
				continue
			}
			if latest != nil && message.GetUid() != latest.GetUid() {
				yield(nil, errReplaced(name, latest.GetUid(), message.GetUid()))
				return
			}
			latest = message
			if !yield(message, nil) {
				return
			}
		}
	}
}

// WatchJobsOptions are the options of [Client.WatchJobs].
type WatchJobsOptions struct {
	// LabelSelector is as in Kubernetes, for example "app=web,tier!=test". Empty: all jobs.
	LabelSelector string
	// Cursor is that of an event seen by an earlier watch: only what changed since comes before
	// the first SYNCED. But if a SYNCED says full, forget every job that this watch hasn't told of.
	Cursor string
}

// WatchJobs yields all jobs that match, then SYNCED, then what is added, changes or is deleted,
// until the caller leaves.
//
// Interruptions are bridged: afterwards come only the changes, and a DELETED event for each job
// that vanished meanwhile, then SYNCED again.
//
// Errors: ErrInvalidRequest (the selector can't be read), ErrUnavailable (the interruption took
// longer than WithResumeFor allows).
func (c *Client) WatchJobs(
	ctx context.Context, options WatchJobsOptions,
) iter.Seq2[*jobenginev1.WatchJobsResponse, error] {
	return func(yield func(*jobenginev1.WatchJobsResponse, error) bool) {
		request := &jobenginev1.WatchJobsRequest{
			LabelSelector:     options.LabelSelector,
			HeartbeatInterval: durationpb.New(c.settings.heartbeat),
		}
		jobs := newJobsFold(options.Cursor)
		calls := stream[*jobenginev1.WatchJobsRequest, jobenginev1.WatchJobsResponse]{
			method:  stub.WatchJobs,
			request: request,
			begin: func() {
				request.Cursor = jobs.cursor
				jobs.begin()
			},
			complete: func() bool { return false },
			over:     func() bool { return false },
			silence:  c.settings.silence(),
		}
		for message, err := range calls.messages(ctx, c) {
			if err != nil {
				yield(nil, err)
				return
			}
			for _, event := range jobs.fold(message) {
				if !yield(event, nil) {
					return
				}
			}
		}
	}
}

// LogsOptions are the options of [Client.Logs].
type LogsOptions struct {
	// Instance says which instance, counted from 0.
	Instance int32
	// Stream reads only this one. Unspecified: both.
	Stream jobenginev1.LogStream
	// Follow goes on as more is written, until the instance has ended.
	Follow bool
	// TailLines begins this many lines before the present end. Nil: at the beginning.
	TailLines *int64
	// Cursor is that of a chunk seen earlier: the output after it comes. It overrules TailLines.
	Cursor string
}

// Logs yields what an instance of a job wrote, in chunks of bytes, without gap or repeat.
//
// Errors: ErrJobNotFound, ErrUnsupported (the engine has no logs), ErrUnavailable (the
// interruption took longer than WithResumeFor allows).
func (c *Client) Logs(
	ctx context.Context, name string, options LogsOptions,
) iter.Seq2[*jobenginev1.ReadLogsResponse, error] {
	return func(yield func(*jobenginev1.ReadLogsResponse, error) bool) {
		request := &jobenginev1.ReadLogsRequest{
			Name:      name,
			Instance:  options.Instance,
			Stream:    options.Stream,
			Follow:    options.Follow,
			TailLines: options.TailLines,
			Cursor:    options.Cursor,
		}
		calls := stream[*jobenginev1.ReadLogsRequest, jobenginev1.ReadLogsResponse]{
			method:   stub.ReadLogs,
			request:  request,
			begin:    func() {},
			complete: func() bool { return true },
			over:     func() bool { return false },
			silence:  never,
		}
		for message, err := range calls.messages(ctx, c) {
			if err == nil && message.GetCursor() != "" {
				request.Cursor = message.GetCursor()
			}
			if !yield(message, err) {
				return
			}
		}
	}
}

// Wait follows a job until it has ended, and returns how. The context says how long.
//
// Errors: ErrJobNotFound (there is no such job, or it is gone), ErrDeadlineExceeded (it hasn't
// ended before the context's deadline; it runs on).
func (c *Client) Wait(ctx context.Context, name string) (*jobenginev1.JobStatus, error) {
	return c.wait(ctx, name, false)
}

// RunOptions are the options of [Client.Run].
type RunOptions struct {
	// Name is the job's name. Empty: the server makes one.
	Name string
	// RequestID makes a repeat of the call follow the first job. Empty: the client makes one.
	RequestID string
}

// Run starts a job, follows it until it has ended, and returns how. A job that fails is no error.
// The context says how long; a job that hasn't ended by then runs on.
//
// Errors: those of CreateJob and Wait.
func (c *Client) Run(ctx context.Context, spec *jobenginev1.JobSpec, options RunOptions) (*jobenginev1.JobStatus, error) {
	// The context's deadline is meant for the job: a server that hangs is to be noticed sooner.
	creating, cancel := context.WithTimeout(ctx, c.settings.timeout)
	defer cancel()
	job, err := c.CreateJob(creating, spec, CreateOptions{Name: options.Name, RequestID: options.RequestID})
	if err != nil {
		return nil, err
	}
	if IsTerminal(job.GetStatus()) {
		return job.GetStatus(), nil
	}
	return c.wait(ctx, job.GetName(), true)
}

func (c *Client) wait(ctx context.Context, name string, established bool) (*jobenginev1.JobStatus, error) {
	var last *jobenginev1.JobStatus
	for event, err := range c.watchStatus(ctx, name, "", established) {
		if err != nil {
			return nil, err
		}
		last = event.GetStatus()
	}
	return last, nil
}

func isLast(message *jobenginev1.WatchStatusResponse) bool {
	return message.GetEvent() == jobenginev1.WatchEvent_WATCH_EVENT_DELETED || IsTerminal(message.GetStatus())
}

func repeats(latest, message *jobenginev1.WatchStatusResponse) bool {
	return latest != nil &&
		message.GetEvent() == latest.GetEvent() &&
		message.GetUid() == latest.GetUid() &&
		proto.Equal(message.GetStatus(), latest.GetStatus())
}

// errReplaced is the end of a watch whose job's name another job got while the stream was away.
func errReplaced(name, watched, other string) *Error {
	return &Error{
		Kind:   ErrJobNotFound,
		Code:   codes.NotFound,
		Reason: reasonJobNotFound,
		Message: fmt.Sprintf("the job %q that was watched (uid %s) is gone; there is another of its name now (uid %s)",
			name, watched, other),
	}
}
