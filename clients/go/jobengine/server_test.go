package jobengine_test

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"jobengine.dev/clients/go/jobengine"
	jobenginev1 "jobengine.dev/clients/go/jobengine/v1"
)

type (
	statusWriter = grpc.ServerStreamingServer[jobenginev1.WatchStatusResponse]
	logWriter    = grpc.ServerStreamingServer[jobenginev1.ReadLogsResponse]
)

// server is a gRPC server whose answers a test decides upon.
type server struct {
	jobenginev1.UnimplementedJobEngineServer
	createJob   func(*jobenginev1.CreateJobRequest) (*jobenginev1.CreateJobResponse, error)
	deleteJob   func(*jobenginev1.DeleteJobRequest) (*jobenginev1.DeleteJobResponse, error)
	listJobs    func(*jobenginev1.ListJobsRequest) (*jobenginev1.ListJobsResponse, error)
	readEngine  func(context.Context) (*jobenginev1.ReadEngineResponse, error)
	watchStatus func(*jobenginev1.WatchStatusRequest, statusWriter) error
	readLogs    func(*jobenginev1.ReadLogsRequest, logWriter) error
}

func (s *server) CreateJob(_ context.Context, request *jobenginev1.CreateJobRequest) (*jobenginev1.CreateJobResponse, error) {
	return s.createJob(request)
}

func (s *server) DeleteJob(_ context.Context, request *jobenginev1.DeleteJobRequest) (*jobenginev1.DeleteJobResponse, error) {
	return s.deleteJob(request)
}

func (s *server) ListJobs(_ context.Context, request *jobenginev1.ListJobsRequest) (*jobenginev1.ListJobsResponse, error) {
	return s.listJobs(request)
}

func (s *server) ReadEngine(ctx context.Context, _ *jobenginev1.ReadEngineRequest) (*jobenginev1.ReadEngineResponse, error) {
	return s.readEngine(ctx)
}

func (s *server) WatchStatus(request *jobenginev1.WatchStatusRequest, answers statusWriter) error {
	return s.watchStatus(request, answers)
}

func (s *server) ReadLogs(request *jobenginev1.ReadLogsRequest, answers logWriter) error {
	return s.readLogs(request, answers)
}

// serve serves until the test's end, and returns the address.
func serve(t *testing.T, s *server, options ...grpc.ServerOption) string {
	t.Helper()
	listener := listen(t)
	serving := grpc.NewServer(options...)
	jobenginev1.RegisterJobEngineServer(serving, s)
	go serving.Serve(listener)
	t.Cleanup(serving.Stop)
	return listener.Addr().String()
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

func newClient(t *testing.T, address string, options ...jobengine.Option) *jobengine.Client {
	t.Helper()
	client, err := jobengine.New(address, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

func authorization(ctx context.Context) []string {
	return metadata.ValueFromIncomingContext(ctx, "authorization")
}

// proxy is in front of a server, and falls silent when told to.
type proxy struct {
	target string
	mu     sync.Mutex
	silent chan struct{} // closed when the connections that are open then fall silent
}

func newProxy(t *testing.T, target string) (*proxy, string) {
	t.Helper()
	listener := listen(t)
	t.Cleanup(func() { listener.Close() })
	p := &proxy{target: target, silent: make(chan struct{})}
	go func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			p.serve(t, near)
		}
	}()
	return p, listener.Addr().String()
}

func (p *proxy) serve(t *testing.T, near net.Conn) {
	far, err := net.Dial("tcp", p.target)
	if err != nil {
		near.Close()
		return
	}
	t.Cleanup(func() { near.Close(); far.Close() })
	p.mu.Lock()
	silent := p.silent
	p.mu.Unlock()
	go io.Copy(untilSilent{far, silent}, near)
	go io.Copy(untilSilent{near, silent}, far)
}

func (p *proxy) fallSilent() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.silent)
	p.silent = make(chan struct{})
}

// untilSilent swallows what is written once it fell silent.
type untilSilent struct {
	to     io.Writer
	silent <-chan struct{}
}

func (w untilSilent) Write(data []byte) (int, error) {
	select {
	case <-w.silent:
		return len(data), nil
	default:
		return w.to.Write(data)
	}
}
