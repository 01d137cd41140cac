package jobengine

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Kind says in which way a call failed. It is an error itself, as a target of [errors.Is].
type Kind string

// The kinds of errors.
const (
	// ErrInvalidRequest: fields of the request are wrong, or ask for what the engine can't do.
	// [Error.Violations] names each; nothing was started.
	ErrInvalidRequest Kind = "InvalidRequest"
	// ErrJobNotFound: there is no such job, or the one that was followed is gone.
	ErrJobNotFound Kind = "JobNotFound"
	// ErrJobAlreadyExists: the name is taken by another job.
	ErrJobAlreadyExists Kind = "JobAlreadyExists"
	// ErrUIDMismatch: the job of that name isn't the one with the uid that was given.
	ErrUIDMismatch Kind = "UidMismatch"
	// ErrUnsupported: the engine, or the server, can't do this at all. The metadata's
	// "capability" says what.
	ErrUnsupported Kind = "Unsupported"
	// ErrLimitReached: a limit of the server or the engine is reached. The metadata's "limit"
	// names it.
	ErrLimitReached Kind = "LimitReached"
	// ErrUnavailable: the server or its engine can't be reached, also after the client's own
	// retries.
	ErrUnavailable Kind = "Unavailable"
	// ErrConnectionSilent: nothing was heard on a watch for too long, not even a heartbeat.
	// Such an error matches ErrUnavailable, too.
	ErrConnectionSilent Kind = "ConnectionSilent"
	// ErrDeadlineExceeded: there was no answer in time. What was asked for may still happen.
	// Unless it was the engine that took too long, such an error matches
	// [context.DeadlineExceeded], too.
	ErrDeadlineExceeded Kind = "DeadlineExceeded"
	// ErrCanceled: the caller's context was cancelled. Such an error matches
	// [context.Canceled], too.
	ErrCanceled Kind = "Canceled"
	// ErrEngineFailed: the engine or the server failed in a way that it should not.
	ErrEngineFailed Kind = "EngineFailed"
	// ErrUnauthenticated: the call brought no credential, or none that the server takes.
	ErrUnauthenticated Kind = "Unauthenticated"
	// ErrPermissionDenied: the caller is known, and may not do this. The metadata's "verb" says
	// what it lacks.
	ErrPermissionDenied Kind = "PermissionDenied"
	// ErrClientClosed: the client was closed, before or during the call.
	ErrClientClosed Kind = "ClientClosed"
	// ErrOther: a failure that has no kind of its own; its code and message tell more.
	ErrOther Kind = "Other"
)

// Error returns the kind's name.
func (k Kind) Error() string { return string(k) }

// Error is a call that failed.
type Error struct {
	// Kind says in which way; programs go by it, with [errors.Is].
	Kind Kind
	// Code is the gRPC code.
	Code codes.Code
	// Reason is the name of a jobenginev1.ErrorReason without its prefix, for example
	// "JOB_NOT_FOUND". Empty where the failure isn't the service's own (a lost connection, a
	// proxy).
	Reason string
	// Message is for people: what is wrong, where, and what to do.
	Message string
	// Violations are the request's wrong fields.
	Violations []FieldViolation
	// RetryDelay is how long the server asks to wait before trying again. Nil: it doesn't ask.
	RetryDelay *time.Duration
	// Metadata has further facts about the reason, for example "limit".
	Metadata map[string]string

	status *status.Status
}

// FieldViolation is one wrong field of a request.
type FieldViolation struct {
	// Field is its path, for example "spec.args[2]".
	Field string
	// Description is what to do about it.
	Description string
}

// Error returns the message and the kind.
func (e *Error) Error() string {
	return fmt.Sprintf("jobengine: %s (%s)", e.Message, e.Kind)
}

// Is makes [errors.Is] match the kind, and the context's errors where those mean the same.
func (e *Error) Is(target error) bool {
	switch target {
	case e.Kind:
		return true
	case ErrUnavailable:
		return e.Kind == ErrConnectionSilent
	case context.Canceled:
		return e.Kind == ErrCanceled
	case context.DeadlineExceeded:
		return e.Kind == ErrDeadlineExceeded && e.Reason == ""
	}
	return false
}

// GRPCStatus makes [status.FromError] and [status.Code] work, with the server's details.
func (e *Error) GRPCStatus() *status.Status {
	if e.status != nil {
		return e.status
	}
	return status.New(e.Code, e.Message)
}
