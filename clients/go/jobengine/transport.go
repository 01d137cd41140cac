package jobengine

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc"
	grpcbackoff "google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	jobenginev1 "jobengine.dev/clients/go/jobengine/v1"
)

const maxMessageBytes = 16 << 20

// stub has the methods of the server's services, over one connection.
type stub struct {
	jobenginev1.JobEngineClient
	healthv1.HealthClient
	conn *grpc.ClientConn
}

// transport is the connection to the server, opened when it is first needed.
type transport struct {
	settings *settings
	closed   chan struct{}

	mu      sync.Mutex
	current *stub
	retired *stub
}

func newTransport(s *settings) (*transport, error) {
	current, err := newStub(s)
	if err != nil {
		return nil, err
	}
	return &transport{settings: s, closed: make(chan struct{}), current: current}, nil
}

// stub returns what new calls are made by. Once the client was closed, they fail with
// ErrClientClosed.
func (t *transport) stub() *stub {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.current
}

// giveUp has new calls open a new connection, if this stub's is still the one that they would use.
// Other calls on the old connection are left to it until the next one is given up.
func (t *transport) giveUp(silent *stub) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.current != silent || t.isClosed() {
		return nil
	}
	fresh, err := newStub(t.settings)
	if err != nil {
		return err
	}
	if t.retired != nil {
		t.retired.conn.Close()
	}
	t.current, t.retired = fresh, silent
	return nil
}

func (t *transport) isClosed() bool {
	select {
	case <-t.closed:
		return true
	default:
		return false
	}
}

func (t *transport) close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.isClosed() {
		return nil
	}
	close(t.closed)
	if t.retired != nil {
		t.retired.conn.Close()
	}
	return t.current.conn.Close()
}

func newStub(s *settings) (*stub, error) {
	conn, err := grpc.NewClient(s.address, dialOptions(s)...)
	if err != nil {
		return nil, err
	}
	return &stub{jobenginev1.NewJobEngineClient(conn), healthv1.NewHealthClient(conn), conn}, nil
}

// dialOptions leaves proxies to gRPC, which asks none about this machine's own addresses.
func dialOptions(s *settings) []grpc.DialOption {
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(
			grpc.MaxCallRecvMsgSize(maxMessageBytes),
			grpc.MaxCallSendMsgSize(maxMessageBytes),
		),
		// A connection that is silently dead is noticed within 40 s. The server permits a ping
		// every 10 s, and would cut off a client that pings more often.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
		// gRPC's own delays between connection attempts grow to 2 min, which would keep a client
		// away from a server that has long come back.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff: grpcbackoff.Config{
				BaseDelay:  200 * time.Millisecond,
				Multiplier: 1.6,
				Jitter:     0.2,
				MaxDelay:   time.Second,
			},
			MinConnectTimeout: 20 * time.Second,
		}),
		// Retries of a service config, which DNS may have, would come on top of this client's.
		grpc.WithDisableServiceConfig(),
	}
	if s.secure {
		options = append(options, grpc.WithTransportCredentials(credentials.NewTLS(s.tls)))
	}
	if s.token != nil {
		options = append(options, grpc.WithPerRPCCredentials(bearer{s.token, s.secure}))
	}
	return append(options, s.dialOptions...)
}

// bearer is a token that goes with each call.
type bearer struct {
	token  func(context.Context) (string, error)
	secure bool
}

func (b bearer) GetRequestMetadata(ctx context.Context, _ ...string) (map[string]string, error) {
	token, err := b.token(ctx)
	if err != nil {
		return nil, status.Errorf(codes.Unauthenticated, "there is no token to send: %v", err)
	}
	return map[string]string{"authorization": "Bearer " + token}, nil
}

func (b bearer) RequireTransportSecurity() bool { return b.secure }

func errClosed() *Error {
	return &Error{Kind: ErrClientClosed, Code: codes.Canceled, Message: "the client is closed; make a new one"}
}
