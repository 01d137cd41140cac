package scenarios

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"

	"google.golang.org/protobuf/proto"

	"jobengine.dev/clients/go/jobengine"
	jobenginev1 "jobengine.dev/clients/go/jobengine/v1"
)

// stream is read beside the steps.
type stream struct {
	name   string
	cancel context.CancelFunc
	done   chan struct{}
	passed int

	mu       sync.Mutex
	changed  chan struct{} // closed with the next message
	messages []proto.Message
	err      error // what it ended with; valid once done is closed
}

func begin(ctx context.Context, reading func(context.Context, *stream) error, name string) *stream {
	ctx, cancel := context.WithCancel(ctx)
	s := &stream{name: name, cancel: cancel, done: make(chan struct{}), changed: make(chan struct{})}
	go func() {
		s.err = reading(ctx, s)
		close(s.done)
	}()
	return s
}

func read[Message proto.Message](s *stream, messages iter.Seq2[Message, error]) error {
	for message, err := range messages {
		if err != nil {
			return err
		}
		s.mu.Lock()
		s.messages = append(s.messages, message)
		close(s.changed)
		s.changed = make(chan struct{})
		s.mu.Unlock()
	}
	return nil
}

// now returns the messages so far, and what tells of the next one.
func (s *stream) now() ([]proto.Message, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.messages, s.changed
}

// until returns the next message that is like the example.
func (s *stream) until(ctx context.Context, example any) (proto.Message, error) {
	for {
		messages, changed := s.now()
		for s.passed < len(messages) {
			message := messages[s.passed]
			s.passed++
			actual, err := asJSON(message)
			if err != nil {
				return nil, err
			}
			if difference(example, actual) == nil {
				return message, nil
			}
		}
		if err := s.wait(ctx, changed); err != nil {
			return nil, fmt.Errorf("no message like that, only %v: %w", messages, err)
		}
	}
}

// text waits until the logs are just that, or have it in them.
func (s *stream) text(ctx context.Context, want *step) error {
	for {
		messages, changed := s.now()
		var text strings.Builder
		for _, message := range messages {
			text.Write(message.(*jobenginev1.ReadLogsResponse).GetData())
		}
		if text.String() == want.Expect || want.Contains != "" && strings.Contains(text.String(), want.Contains) {
			return nil
		}
		if err := s.wait(ctx, changed); err != nil {
			return fmt.Errorf("only %q: %w", text.String(), err)
		}
	}
}

// wait waits for the next message. None comes after the stream's end, and none after the step's.
func (s *stream) wait(ctx context.Context, changed <-chan struct{}) error {
	select {
	case <-changed:
		return nil
	case <-s.done:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case <-changed: // together with the end
		return nil
	default:
		return fmt.Errorf("the stream ended: %v", s.err)
	}
}

// end waits for the stream's end, and returns what it ended with.
func (s *stream) end(ctx context.Context) error {
	select {
	case <-s.done:
		return errors.Join(s.check(), s.err)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// close leaves the stream early.
func (s *stream) close(ctx context.Context) error {
	s.cancel()
	if err := s.end(ctx); !errors.Is(err, jobengine.ErrCanceled) {
		return err
	}
	return s.check()
}

// told is a piece of news about a job.
type told struct {
	event  jobenginev1.WatchEvent
	uid    string
	status *jobenginev1.JobStatus
}

// check returns what is wrong with what a watch has told.
func (s *stream) check() error {
	last := map[string]told{}
	messages, _ := s.now()
	for _, message := range messages {
		var news told
		switch message := message.(type) {
		case *jobenginev1.WatchStatusResponse:
			news = told{message.GetEvent(), message.GetUid(), message.GetStatus()}
		case *jobenginev1.WatchJobsResponse:
			news = told{message.GetEvent(), message.GetJob().GetUid(), message.GetJob().GetStatus()}
		default:
			continue
		}
		switch news.event {
		case jobenginev1.WatchEvent_WATCH_EVENT_HEARTBEAT:
			return errors.New("a heartbeat was handed out")
		case jobenginev1.WatchEvent_WATCH_EVENT_SYNCED:
			continue
		}
		if before, ok := last[news.uid]; ok {
			if err := before.allows(news); err != nil {
				return err
			}
		}
		last[news.uid] = news
		if s.name != "" && len(last) > 1 {
			return fmt.Errorf("a watch of one job told of several: %v", last)
		}
	}
	return nil
}

// allows returns what is wrong with this next piece of news.
func (t told) allows(next told) error {
	same := proto.Equal(t.status, next.status)
	switch {
	case t.event == next.event && same:
		return fmt.Errorf("told twice: %v", t.status)
	case t.event == jobenginev1.WatchEvent_WATCH_EVENT_DELETED:
		return fmt.Errorf("after its deletion: %v", next.status)
	case next.status.GetState() < t.status.GetState():
		return fmt.Errorf("a state went back: %v, then %v", t.status, next.status)
	case jobengine.IsTerminal(t.status) && !same:
		return fmt.Errorf("a terminal status changed: %v, then %v", t.status, next.status)
	}
	return nil
}
