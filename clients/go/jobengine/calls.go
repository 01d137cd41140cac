package jobengine

import (
	"context"
	"errors"
	"io"
	"iter"
	"math"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
)

// never is how long a stream without heartbeats may be silent.
const never = time.Duration(math.MaxInt64)

// errSilent is why a call was cancelled on which nothing was heard.
var errSilent = errors.New("silent")

// unary makes a call, again while the service is unavailable, within one deadline.
func unary[Request, Response any](
	ctx context.Context,
	c *Client,
	method func(stub, context.Context, Request, ...grpc.CallOption) (Response, error),
	request Request,
) (Response, error) {
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.settings.timeout)
		defer cancel()
	}
	attempts := newBackoff(c.settings.retryFor)
	for {
		response, err := method(*c.transport.stub(), ctx, request)
		if err == nil {
			return response, nil
		}
		failure := c.failure(ctx, err)
		if failure.Kind != ErrUnavailable {
			return response, failure
		}
		if err := c.pause(ctx, attempts, failure); err != nil {
			return response, err
		}
	}
}

// stream is a call that can be resumed: each attempt sends the request as it then is.
type stream[Request, Response any] struct {
	method  func(stub, context.Context, Request, ...grpc.CallOption) (grpc.ServerStreamingClient[Response], error)
	request Request
	// begin is told before each attempt; it brings the request's cursor up to date.
	begin func()
	// complete is asked when an attempt ended with OK: whether that is the stream's end.
	complete func() bool
	// over is asked when an attempt ended in any way: whether all had been told before that.
	over func() bool
	// silence is how long without a message the connection is taken for dead.
	silence time.Duration
	// established streams are resumed for longer than those of which nothing was heard yet, which
	// fail as other calls do.
	established bool
}

// messages yields the stream's messages, over as many attempts as that takes, heartbeats included.
func (s *stream[Request, Response]) messages(ctx context.Context, c *Client) iter.Seq2[*Response, error] {
	return func(yield func(*Response, error) bool) {
		attempts := newBackoff(c.settings.retryFor)
		if s.established {
			attempts.succeeded(c.settings.resumeFor)
		}
		for !s.over() {
			used := c.transport.stub()
			var failure *Error
			for message, err := range s.attempt(ctx, used) {
				if err != nil {
					failure = c.failure(ctx, err)
					break
				}
				attempts.succeeded(c.settings.resumeFor)
				if !yield(message, nil) {
					return
				}
			}
			if failure == nil {
				if s.complete() {
					return
				}
				failure = &Error{Kind: ErrUnavailable, Code: codes.Unavailable, Message: "the stream ended before its time"}
			}
			if err := s.resume(ctx, c, used, attempts, failure); err != nil {
				yield(nil, err)
				return
			}
		}
	}
}

// resume waits until the stream may be resumed, which isn't needed when it is over, or returns the
// error that it ends with.
func (s *stream[Request, Response]) resume(
	ctx context.Context, c *Client, used *stub, attempts *backoff, failure *Error,
) error {
	if failure.Kind == ErrConnectionSilent {
		// Its keepalive may never find out: it begins anew with each call.
		if err := c.transport.giveUp(used); err != nil {
			return c.failure(ctx, err)
		}
	}
	if s.over() {
		return nil
	}
	if !isInterruption(failure) {
		return failure
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return &Error{Kind: ErrDeadlineExceeded, Code: codes.DeadlineExceeded, Message: failure.Message}
	}
	return c.pause(ctx, attempts, failure)
}

// attempt yields the messages of one call, which is cancelled when left early.
func (s *stream[Request, Response]) attempt(ctx context.Context, used *stub) iter.Seq2[*Response, error] {
	return func(yield func(*Response, error) bool) {
		s.begin()
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		// Only the wait for the server is measured, not what the caller does with a message.
		watchdog := time.AfterFunc(s.silence, func() { cancel(errSilent) })
		defer watchdog.Stop()
		call, err := s.method(*used, ctx, s.request)
		for err == nil {
			var message *Response
			if message, err = call.Recv(); err == nil {
				watchdog.Stop()
				if !yield(message, nil) {
					return
				}
				watchdog.Reset(s.silence)
			}
		}
		if err == io.EOF {
			return
		}
		if context.Cause(ctx) == errSilent {
			err = &Error{
				Kind:    ErrConnectionSilent,
				Code:    codes.Unavailable,
				Message: "nothing was heard for " + s.silence.String() + ", not even a heartbeat",
			}
		}
		yield(nil, err)
	}
}

// failure returns what a failed call means to the caller with this context.
func (c *Client) failure(ctx context.Context, err error) *Error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return &Error{Kind: ErrCanceled, Code: codes.Canceled, Message: "the call's context was cancelled"}
	}
	if c.transport.isClosed() {
		return errClosed()
	}
	if failure, ok := errors.AsType[*Error](err); ok {
		return failure
	}
	return fromStatus(err)
}

// pause waits before the next attempt, or returns the failure where there is time for none.
func (c *Client) pause(ctx context.Context, attempts *backoff, failure *Error) error {
	delay, ok := attempts.next(failure.RetryDelay)
	deadline, bounded := ctx.Deadline()
	if !ok || bounded && !time.Now().Add(delay).Before(deadline) {
		return failure
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
	case <-c.transport.closed:
	}
	return c.failure(ctx, failure)
}
