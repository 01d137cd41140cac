package jobengine_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"jobengine.dev/clients/go/jobengine"
	jobenginev1 "jobengine.dev/clients/go/jobengine/v1"
)

// limit bounds what a test waits for.
const limit = 20 * time.Second

func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	return ctx
}

func TestDeadlineOfTheContextWins(t *testing.T) {
	var left time.Duration
	address := serve(t, &server{readEngine: func(ctx context.Context) (*jobenginev1.ReadEngineResponse, error) {
		deadline, _ := ctx.Deadline()
		left = time.Until(deadline)
		return &jobenginev1.ReadEngineResponse{}, nil
	}})
	client := newClient(t, address, jobengine.WithTimeout(time.Minute))
	for ofContext, expected := range map[time.Duration]time.Duration{0: time.Minute, limit: limit, time.Hour: time.Hour} {
		ctx := t.Context()
		if ofContext != 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, ofContext)
			defer cancel()
		}
		if _, err := client.ReadEngine(ctx); err != nil {
			t.Fatal(err)
		}
		if left > expected || left < expected-limit {
			t.Errorf("context %v: the call had %v, want %v", ofContext, left, expected)
		}
	}
}

// hanging is a server that tells when a call came, and when that was cancelled.
func hanging(t *testing.T) (address string, came, left chan struct{}) {
	came, left = make(chan struct{}, 1), make(chan struct{}, 1)
	return serve(t, &server{readEngine: func(ctx context.Context) (*jobenginev1.ReadEngineResponse, error) {
		came <- struct{}{}
		<-ctx.Done()
		left <- struct{}{}
		return nil, ctx.Err()
	}}), came, left
}

func TestCancelledContextEndsTheCall(t *testing.T) {
	address, came, left := hanging(t)
	ctx, cancel := context.WithCancel(bounded(t))
	go func() { <-came; cancel() }()
	_, err := newClient(t, address).ReadEngine(ctx)
	if !errors.Is(err, jobengine.ErrCanceled) || !errors.Is(err, context.Canceled) || status.Code(err) != codes.Canceled {
		t.Errorf("got %v", err)
	}
	<-left
}

func TestClosedClient(t *testing.T) {
	address, came, left := hanging(t)
	client := newClient(t, address)
	go func() { <-came; client.Close() }()
	for range 2 { // during the call, and before it
		if _, err := client.ReadEngine(bounded(t)); !errors.Is(err, jobengine.ErrClientClosed) {
			t.Errorf("got %v", err)
		}
	}
	<-left
	for _, err := range client.WatchStatus(bounded(t), "a", jobengine.WatchStatusOptions{}) {
		if !errors.Is(err, jobengine.ErrClientClosed) {
			t.Errorf("got %v", err)
		}
	}
	if err := client.Close(); err != nil {
		t.Errorf("closed again: %v", err)
	}
}

func running(cursor string) *jobenginev1.WatchStatusResponse {
	return &jobenginev1.WatchStatusResponse{
		Event:  jobenginev1.WatchEvent_WATCH_EVENT_STATUS,
		Status: &jobenginev1.JobStatus{State: jobenginev1.JobState_JOB_STATE_RUNNING},
		Uid:    "1",
		Cursor: cursor,
	}
}

func succeeded(cursor string) *jobenginev1.WatchStatusResponse {
	last := running(cursor)
	last.Status.State = jobenginev1.JobState_JOB_STATE_SUCCEEDED
	return last
}

func TestAWatchIsOneStoryOverSeveralCalls(t *testing.T) {
	var cursors []string
	address := serve(t, &server{watchStatus: func(request *jobenginev1.WatchStatusRequest, answers statusWriter) error {
		cursors = append(cursors, request.GetCursor())
		switch len(cursors) {
		case 1:
			return answers.Send(running("1")) // and OK, before its time
		case 2:
			answers.Send(running("2"))
			answers.Send(&jobenginev1.WatchStatusResponse{Event: jobenginev1.WatchEvent_WATCH_EVENT_HEARTBEAT, Cursor: "3"})
			return status.Error(codes.Unknown, "a proxy's failure")
		}
		return answers.Send(succeeded("4"))
	}})
	var states []string
	for event, err := range newClient(t, address).WatchStatus(bounded(t), "a", jobengine.WatchStatusOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		states = append(states, jobengine.StateName(event.GetStatus()))
	}
	if !slices.Equal(states, []string{"RUNNING", "SUCCEEDED"}) || !slices.Equal(cursors, []string{"", "1", "3"}) {
		t.Errorf("got %v over calls with the cursors %q", states, cursors)
	}
}

// slowToEnd is how long a server takes to end a watch whose last message it has sent.
const slowToEnd = 100 * time.Millisecond

func TestAWatchIsReadToItsEnd(t *testing.T) {
	ended := make(chan error, 1)
	address := serve(t, &server{watchStatus: func(_ *jobenginev1.WatchStatusRequest, answers statusWriter) error {
		answers.Send(succeeded("1"))
		time.Sleep(slowToEnd)
		ended <- answers.Context().Err()
		return nil
	}})
	last, err := newClient(t, address).Wait(bounded(t), "a")
	if err != nil || last.GetState() != jobenginev1.JobState_JOB_STATE_SUCCEEDED {
		t.Errorf("got %v, %v", last, err)
	}
	if err := <-ended; err != nil {
		t.Errorf("the call didn't get to its end: %v", err)
	}
}

func TestWhatBreaksAfterTheLastMessageBreaksNothing(t *testing.T) {
	calls := 0
	address := serve(t, &server{watchStatus: func(_ *jobenginev1.WatchStatusRequest, answers statusWriter) error {
		calls++
		answers.Send(succeeded("1"))
		time.Sleep(slowToEnd)
		return status.Error(codes.Unavailable, "gone")
	}})
	var cursors []string
	for event, err := range newClient(t, address).WatchStatus(bounded(t), "a", jobengine.WatchStatusOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		cursors = append(cursors, event.GetCursor())
	}
	if !slices.Equal(cursors, []string{"1"}) || calls != 1 {
		t.Errorf("got %q in %d calls", cursors, calls)
	}
}

func TestLeavingAWatchEndsTheCall(t *testing.T) {
	left := make(chan struct{})
	address := serve(t, &server{watchStatus: func(_ *jobenginev1.WatchStatusRequest, answers statusWriter) error {
		answers.Send(running("1"))
		<-answers.Context().Done()
		close(left)
		return nil
	}})
	for _, err := range newClient(t, address).WatchStatus(bounded(t), "a", jobengine.WatchStatusOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		break
	}
	select {
	case <-left:
	case <-time.After(limit):
		t.Error("the call goes on")
	}
}

// Logs have no heartbeats: their call hangs on the first connection when the second one dies too.
func TestACallGoesOnWhenOthersGiveItsConnectionUp(t *testing.T) {
	watched := make(chan struct{}, 10)
	target := serve(t, &server{
		watchStatus: func(request *jobenginev1.WatchStatusRequest, answers statusWriter) error {
			if request.GetCursor() != "" {
				answers.Send(&jobenginev1.WatchStatusResponse{Event: jobenginev1.WatchEvent_WATCH_EVENT_HEARTBEAT})
			} else {
				answers.Send(running("1"))
			}
			watched <- struct{}{}
			<-answers.Context().Done()
			return nil
		},
		readLogs: func(request *jobenginev1.ReadLogsRequest, answers logWriter) error {
			if request.GetCursor() == "1" {
				return answers.Send(&jobenginev1.ReadLogsResponse{Data: []byte("two"), Cursor: "2"})
			}
			answers.Send(&jobenginev1.ReadLogsResponse{Data: []byte("one"), Cursor: "1"})
			<-answers.Context().Done()
			return nil
		},
	})
	proxy, address := newProxy(t, target)
	client := newClient(t, address, jobengine.WithHeartbeat(time.Second))
	ctx := bounded(t)
	watching, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		for range client.WatchStatus(watching, "a", jobengine.WatchStatusOptions{}) {
		}
	}()
	<-watched
	var text string
	for chunk, err := range client.Logs(ctx, "a", jobengine.LogsOptions{Follow: true}) {
		if err != nil {
			t.Fatal(err)
		}
		text += string(chunk.GetData())
		if text == "one" {
			go func() {
				proxy.fallSilent()
				<-watched // over a new connection
				proxy.fallSilent()
			}()
		}
	}
	if text != "onetwo" {
		t.Errorf("got %q", text)
	}
}
