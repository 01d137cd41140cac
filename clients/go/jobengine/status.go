package jobengine

import (
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const domain = "jobengine"

const reasonJobNotFound = "JOB_NOT_FOUND"

var kindByReason = map[string]Kind{
	"INVALID_FIELD":          ErrInvalidRequest,
	"UNSUPPORTED_FIELD":      ErrInvalidRequest,
	"INVALID_TOKEN":          ErrInvalidRequest,
	reasonJobNotFound:        ErrJobNotFound,
	"JOB_ALREADY_EXISTS":     ErrJobAlreadyExists,
	"UID_MISMATCH":           ErrUIDMismatch,
	"UNSUPPORTED_CAPABILITY": ErrUnsupported,
	"ENGINE_UNAVAILABLE":     ErrUnavailable,
	"ENGINE_TIMEOUT":         ErrDeadlineExceeded,
	"ENGINE_FAILED":          ErrEngineFailed,
	"SERVER_STOPPING":        ErrUnavailable,
	"LIMIT_REACHED":          ErrLimitReached,
	"UNAUTHENTICATED":        ErrUnauthenticated,
	"PERMISSION_DENIED":      ErrPermissionDenied,
	"REAUTHENTICATE":         ErrUnavailable,
}

// For failures that aren't the service's own, and for reasons newer than this client.
var kindByCode = map[codes.Code]Kind{
	codes.InvalidArgument:   ErrInvalidRequest,
	codes.Unimplemented:     ErrUnsupported,
	codes.ResourceExhausted: ErrLimitReached,
	codes.Unavailable:       ErrUnavailable,
	// By a server that stops, or by a connection that other calls gave up. (What the caller
	// cancelled is told apart before.)
	codes.Canceled:         ErrUnavailable,
	codes.DeadlineExceeded: ErrDeadlineExceeded,
	codes.Internal:         ErrEngineFailed,
	codes.Unauthenticated:  ErrUnauthenticated,
	codes.PermissionDenied: ErrPermissionDenied,
}

// fromStatus returns the error that a failed call means, with all that its details tell.
func fromStatus(err error) *Error {
	s := status.Convert(err)
	e := &Error{Code: s.Code(), Message: s.Message(), status: s}
	// Details that can't be read come as errors and are passed over: the code still tells.
	for _, detail := range s.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			if detail.GetDomain() == domain {
				e.Reason = detail.GetReason()
				e.Metadata = detail.GetMetadata()
			}
		case *errdetails.BadRequest:
			for _, v := range detail.GetFieldViolations() {
				e.Violations = append(e.Violations, FieldViolation{v.GetField(), v.GetDescription()})
			}
		case *errdetails.RetryInfo:
			if detail.GetRetryDelay() != nil {
				e.RetryDelay = new(detail.GetRetryDelay().AsDuration())
			}
		}
	}
	e.Kind = kindOf(e.Reason, e.Code)
	if e.Message == "" {
		e.Message = e.Code.String()
	}
	return e
}

func kindOf(reason string, code codes.Code) Kind {
	if kind, ok := kindByReason[reason]; ok {
		return kind
	}
	if kind, ok := kindByCode[code]; ok {
		return kind
	}
	return ErrOther
}

// isInterruption tells whether a stream that ended like this may go on in a new call.
func isInterruption(e *Error) bool {
	if e.Kind == ErrCanceled || e.Kind == ErrClientClosed {
		return false
	}
	if e.RetryDelay != nil {
		return true
	}
	switch e.Reason {
	case "":
		return isBrokenStream(e.Code)
	case "ENGINE_UNAVAILABLE", "ENGINE_TIMEOUT", "SERVER_STOPPING", "REAUTHENTICATE":
		return true
	}
	return false
}

// isBrokenStream tells whether connections and proxies end streams like this, when no reason of
// the service is given.
func isBrokenStream(code codes.Code) bool {
	switch code {
	case codes.Unavailable, codes.Canceled, codes.DeadlineExceeded, codes.Internal, codes.Unknown:
		return true
	}
	return false
}
