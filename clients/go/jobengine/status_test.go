package jobengine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	jobenginev1 "jobengine.dev/clients/go/jobengine/v1"
)

func failed(t *testing.T, code codes.Code, details ...protoadapt.MessageV1) error {
	t.Helper()
	s, err := status.New(code, "it failed").WithDetails(details...)
	if err != nil {
		t.Fatal(err)
	}
	return s.Err()
}

func because(reason string) *errdetails.ErrorInfo {
	return &errdetails.ErrorInfo{Domain: domain, Reason: reason, Metadata: map[string]string{"limit": "streams"}}
}

func TestEveryReasonOfTheContractHasAKind(t *testing.T) {
	for number, name := range jobenginev1.ErrorReason_name {
		if _, ok := kindByReason[strings.TrimPrefix(name, "ERROR_REASON_")]; !ok && number != 0 {
			t.Errorf("%s has none", name)
		}
	}
}

func TestAllThatTheDetailsTell(t *testing.T) {
	err := error(fromStatus(failed(t, codes.InvalidArgument,
		because("INVALID_FIELD"),
		&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: "name", Description: "mend it"}}},
		&errdetails.RetryInfo{RetryDelay: durationpb.New(1500 * time.Millisecond)},
	)))
	e, ok := errors.AsType[*Error](fmt.Errorf("wrapped: %w", err))
	if !ok || e.Kind != ErrInvalidRequest || e.Code != codes.InvalidArgument || e.Reason != "INVALID_FIELD" {
		t.Errorf("got %+v", e)
	}
	if !slices.Equal(e.Violations, []FieldViolation{{"name", "mend it"}}) || e.Metadata["limit"] != "streams" {
		t.Errorf("got %+v", e)
	}
	if e.RetryDelay == nil || *e.RetryDelay != 1500*time.Millisecond {
		t.Errorf("retry delay %v", e.RetryDelay)
	}
	if s, ok := status.FromError(err); !ok || s.Code() != codes.InvalidArgument || len(s.Details()) != 3 {
		t.Errorf("status %v", s)
	}
	denied := fromStatus(failed(t, codes.PermissionDenied, &errdetails.ErrorInfo{
		Domain: domain, Reason: "PERMISSION_DENIED", Metadata: map[string]string{"verb": "delete"},
	}))
	if denied.Metadata["verb"] != "delete" {
		t.Errorf("got %+v", denied)
	}
	if err.Error() != "jobengine: it failed (InvalidRequest)" {
		t.Errorf("message %q", err)
	}
}

func TestErrorsMatchTheirKinds(t *testing.T) {
	for _, test := range []struct {
		err           error
		is            []error
		isInterrupted bool
	}{
		{failed(t, codes.NotFound, because("JOB_NOT_FOUND")), []error{ErrJobNotFound}, false},
		{failed(t, codes.NotFound), []error{ErrOther}, false},
		{failed(t, codes.DeadlineExceeded, because("ENGINE_TIMEOUT")), []error{ErrDeadlineExceeded}, true},
		{failed(t, codes.DeadlineExceeded), []error{ErrDeadlineExceeded, context.DeadlineExceeded}, true},
		{failed(t, codes.Internal, because("ENGINE_FAILED")), []error{ErrEngineFailed}, false},
		{failed(t, codes.Internal), []error{ErrEngineFailed}, true},
		{failed(t, codes.Unknown), []error{ErrOther}, true},
		{failed(t, codes.Canceled), []error{ErrUnavailable}, true},
		{failed(t, codes.Unavailable, because("SERVER_STOPPING")), []error{ErrUnavailable}, true},
		{failed(t, codes.Unavailable, because("REAUTHENTICATE")), []error{ErrUnavailable}, true},
		{failed(t, codes.Unavailable, because("A_NEWER_REASON")), []error{ErrUnavailable}, false},
		{failed(t, codes.Unauthenticated, because("UNAUTHENTICATED")), []error{ErrUnauthenticated}, false},
		{failed(t, codes.Unauthenticated), []error{ErrUnauthenticated}, false},
		{failed(t, codes.PermissionDenied, because("PERMISSION_DENIED")), []error{ErrPermissionDenied}, false},
		{failed(t, codes.PermissionDenied), []error{ErrPermissionDenied}, false},
		{failed(t, codes.ResourceExhausted), []error{ErrLimitReached}, false},
		{failed(t, codes.ResourceExhausted, &errdetails.RetryInfo{RetryDelay: &durationpb.Duration{}}), []error{ErrLimitReached}, true},
		{failed(t, codes.NotFound, &errdetails.ErrorInfo{Domain: "a proxy's", Reason: "JOB_NOT_FOUND"}), []error{ErrOther}, false},
		{&Error{Kind: ErrConnectionSilent, Code: codes.Unavailable}, []error{ErrConnectionSilent, ErrUnavailable}, true},
		{&Error{Kind: ErrCanceled, Code: codes.Canceled}, []error{ErrCanceled, context.Canceled}, false},
		{errClosed(), []error{ErrClientClosed}, false},
	} {
		e, ok := errors.AsType[*Error](test.err)
		if !ok {
			e = fromStatus(test.err)
		}
		for _, target := range []error{
			ErrJobNotFound, ErrDeadlineExceeded, ErrEngineFailed, ErrOther, ErrUnavailable, ErrLimitReached,
			ErrConnectionSilent, ErrCanceled, ErrClientClosed, ErrUnauthenticated, ErrPermissionDenied,
			context.DeadlineExceeded, context.Canceled,
		} {
			if errors.Is(e, target) != slices.Contains(test.is, target) {
				t.Errorf("%v %q: errors.Is %v", e, e.Reason, target)
			}
		}
		if isInterruption(e) != test.isInterrupted {
			t.Errorf("%v %q: an interruption: %v", e, e.Reason, !test.isInterrupted)
		}
	}
}
