package jobengine

import (
	"context"
	"iter"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	jobenginev1 "jobengine.dev/clients/go/jobengine/v1"
)

// Service is the name by which [Client.CheckHealth] asks for the job engine.
const Service = "jobengine.v1.JobEngine"

// Client runs jobs on a job engine's server. It may be used by many goroutines at once.
//
// The connection is opened when it is first needed. Calls that find the service unavailable are
// made again for a few seconds; streams that are interrupted go on by themselves.
type Client struct {
	settings  *settings
	transport *transport
}

// New returns a client of the server at the address, host:port or unix:PATH. An empty address
// means the environment variable JOBENGINE_ADDRESS, else 127.0.0.1:50051.
//
// An error means that the settings are wrong; whether the server is there is seen by the calls.
func New(address string, options ...Option) (*Client, error) {
	settings, err := newSettings(address, options)
	if err != nil {
		return nil, err
	}
	transport, err := newTransport(settings)
	if err != nil {
		return nil, err
	}
	return &Client{settings, transport}, nil
}

// Close closes the connection. Calls that are under way end with ErrClientClosed.
func (c *Client) Close() error {
	return c.transport.close()
}

// CreateOptions are the options of [Client.CreateJob].
type CreateOptions struct {
	// Name is the job's name. Empty: the server makes one.
	Name string
	// RequestID makes a repeat of the call return the first job. Empty: the client makes one.
	RequestID string
	// ValidateOnly checks everything and starts nothing.
	ValidateOnly bool
}

// CreateJob starts a job, and returns it once the engine holds it durably, usually before it runs.
//
// Repeating the call with the same request id never starts a second job. The client makes one
// where none is given, so its own retries are safe.
//
// Errors: ErrInvalidRequest (its violations name every wrong field; nothing was started),
// ErrJobAlreadyExists.
func (c *Client) CreateJob(ctx context.Context, spec *jobenginev1.JobSpec, options CreateOptions) (*jobenginev1.Job, error) {
	request := &jobenginev1.CreateJobRequest{
		Name:         options.Name,
		RequestId:    options.RequestID,
		Spec:         spec,
		ValidateOnly: options.ValidateOnly,
	}
	if request.RequestId == "" {
		request.RequestId = uuid.NewString()
	}
	response, err := unary(ctx, c, stub.CreateJob, request)
	return response.GetJob(), err
}

// ReadJob returns a job, with its spec.
//
// Errors: ErrJobNotFound.
func (c *Client) ReadJob(ctx context.Context, name string) (*jobenginev1.Job, error) {
	response, err := unary(ctx, c, stub.ReadJob, &jobenginev1.ReadJobRequest{Name: name})
	return response.GetJob(), err
}

// ReadStatusOptions are the options of [Client.ReadStatus].
type ReadStatusOptions struct {
	// Fresh asks the engine itself instead of the server's memory.
	Fresh bool
}

// ReadStatus returns a job's status.
//
// Errors: ErrJobNotFound.
func (c *Client) ReadStatus(ctx context.Context, name string, options ReadStatusOptions) (*jobenginev1.JobStatus, error) {
	request := &jobenginev1.ReadStatusRequest{Name: name, Fresh: options.Fresh}
	response, err := unary(ctx, c, stub.ReadStatus, request)
	return response.GetStatus(), err
}

// CancelOptions are the options of [Client.CancelJob].
type CancelOptions struct {
	// UID cancels the job only if it has this uid.
	UID string
	// GracePeriod is how long the job gets to end by itself. Nil: the engine's default.
	GracePeriod *time.Duration
}

// CancelJob stops a job and keeps its record. It returns the job's status right after that, which
// is often not terminal yet: Wait for it. Jobs that have ended stay as they are.
//
// Errors: ErrJobNotFound, ErrUIDMismatch.
func (c *Client) CancelJob(ctx context.Context, name string, options CancelOptions) (*jobenginev1.JobStatus, error) {
	request := &jobenginev1.CancelJobRequest{
		Name:        name,
		Uid:         options.UID,
		GracePeriod: durationOf(options.GracePeriod),
	}
	response, err := unary(ctx, c, stub.CancelJob, request)
	return response.GetStatus(), err
}

// DeleteOptions are the options of [Client.DeleteJob].
type DeleteOptions struct {
	// UID deletes the job only if it has this uid.
	UID string
	// AllowMissing succeeds where there is no such job.
	AllowMissing bool
	// Wait returns only when all is gone.
	Wait bool
	// GracePeriod is how long the job gets to end by itself. Nil: the engine's default.
	GracePeriod *time.Duration
}

// DeleteJob ends a job if it still runs, then removes it with its instances and their output.
//
// Errors: ErrJobNotFound, ErrUIDMismatch, ErrDeadlineExceeded (with Wait, it isn't gone yet; the
// deletion goes on).
func (c *Client) DeleteJob(ctx context.Context, name string, options DeleteOptions) error {
	request := &jobenginev1.DeleteJobRequest{
		Name:         name,
		Uid:          options.UID,
		AllowMissing: options.AllowMissing,
		Wait:         options.Wait,
		GracePeriod:  durationOf(options.GracePeriod),
	}
	attempt := func(
		s stub, ctx context.Context, request *jobenginev1.DeleteJobRequest, options ...grpc.CallOption,
	) (*jobenginev1.DeleteJobResponse, error) {
		response, err := s.DeleteJob(ctx, request, options...)
		// An attempt whose answer was lost may well have removed the job: if there is another
		// one, it is to succeed.
		request.AllowMissing = true
		return response, err
	}
	_, err := unary(ctx, c, attempt, request)
	return err
}

// ListOptions are the options of [Client.ListJobs].
type ListOptions struct {
	// LabelSelector is as in Kubernetes, for example "app=web,tier!=test". Empty: all jobs.
	LabelSelector string
	// States lists only jobs in one of these. Empty: in any.
	States []jobenginev1.JobState
}

// ListJobs yields all jobs that match, by name and without specs, page after page. Each page is a
// call of its own.
//
// Errors: ErrInvalidRequest (the selector can't be read).
func (c *Client) ListJobs(ctx context.Context, options ListOptions) iter.Seq2[*jobenginev1.Job, error] {
	return func(yield func(*jobenginev1.Job, error) bool) {
		request := &jobenginev1.ListJobsRequest{LabelSelector: options.LabelSelector, States: options.States}
		for {
			page, err := unary(ctx, c, stub.ListJobs, request)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, job := range page.GetJobs() {
				if !yield(job, nil) {
					return
				}
			}
			if page.GetNextPageToken() == "" {
				return
			}
			request.PageToken = page.GetNextPageToken()
		}
	}
}

// ReadEngine tells which engine runs the jobs, how it is, what it can do and what limits apply.
func (c *Client) ReadEngine(ctx context.Context) (*jobenginev1.ReadEngineResponse, error) {
	return unary(ctx, c, stub.ReadEngine, &jobenginev1.ReadEngineRequest{})
}

// CheckHealth asks the server's standard health service whether it serves a service: [Service], or
// "" for the server as a whole. One that the server doesn't know isn't served.
func (c *Client) CheckHealth(ctx context.Context, service string) (bool, error) {
	response, err := unary(ctx, c, stub.Check, &healthv1.HealthCheckRequest{Service: service})
	if status.Code(err) == codes.NotFound {
		return false, nil
	}
	return response.GetStatus() == healthv1.HealthCheckResponse_SERVING, err
}

func durationOf(duration *time.Duration) *durationpb.Duration {
	if duration == nil {
		return nil
	}
	return durationpb.New(*duration)
}
