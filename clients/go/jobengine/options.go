package jobengine

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
)

const (
	defaultAddress = "127.0.0.1:50051"

	minHeartbeat = time.Second
	maxHeartbeat = 5 * time.Minute
)

// settings are what a client is made from.
type settings struct {
	address     string
	timeout     time.Duration
	retryFor    time.Duration
	resumeFor   time.Duration
	heartbeat   time.Duration
	secure      bool
	tls         *tls.Config
	token       func(context.Context) (string, error)
	dialOptions []grpc.DialOption
}

// Option is a setting of a [Client].
type Option func(*settings)

// WithTimeout sets how long a call with one answer may take, retries included, where its context
// has no deadline. Default: 30 s.
func WithTimeout(timeout time.Duration) Option {
	return func(s *settings) { s.timeout = timeout }
}

// WithRetryFor sets for how long a call that found the service unavailable is made again. 0: it is
// made once. Default: 5 s.
func WithRetryFor(duration time.Duration) Option {
	return func(s *settings) { s.retryFor = duration }
}

// WithResumeFor sets for how long a stream that was interrupted is resumed, without hearing
// anything. 0: it isn't resumed. Default: 5 min.
func WithResumeFor(duration time.Duration) Option {
	return func(s *settings) { s.resumeFor = duration }
}

// WithHeartbeat sets how often a quiet watch wants to hear from the server. After twice that and a
// second in silence, the watch takes its connection for dead. Held within 1 s and 5 min. Default:
// 50 s.
func WithHeartbeat(interval time.Duration) Option {
	return func(s *settings) { s.heartbeat = interval }
}

// WithTLS encrypts the connection. A nil config, or one without RootCAs, trusts the authorities
// that this machine trusts; one with Certificates shows those to the server (mTLS). Default: no
// encryption.
func WithTLS(config *tls.Config) Option {
	return func(s *settings) { s.secure, s.tls = true, config }
}

// WithToken sends "authorization: Bearer TOKEN" with each call. Without [WithTLS], that is refused
// for addresses other than this machine's own.
func WithToken(token string) Option {
	return WithTokenFunc(func(context.Context) (string, error) { return token, nil })
}

// WithTokenFunc is [WithToken] for tokens that are renewed: the function is asked for the token at
// each attempt of each call, also before a stream goes on. Its error ends the call with
// ErrUnauthenticated.
func WithTokenFunc(token func(context.Context) (string, error)) Option {
	return func(s *settings) { s.token = token }
}

// WithDialOptions adds options of gRPC, which overrule this client's own.
func WithDialOptions(options ...grpc.DialOption) Option {
	return func(s *settings) { s.dialOptions = append(s.dialOptions, options...) }
}

func newSettings(address string, options []Option) (*settings, error) {
	s := &settings{
		address:   cmp.Or(address, os.Getenv("JOBENGINE_ADDRESS"), defaultAddress),
		timeout:   30 * time.Second,
		retryFor:  5 * time.Second,
		resumeFor: 5 * time.Minute,
		heartbeat: 50 * time.Second,
	}
	for _, option := range options {
		option(s)
	}
	s.heartbeat = min(max(s.heartbeat, minHeartbeat), maxHeartbeat)
	if s.timeout <= 0 {
		return nil, fmt.Errorf("jobengine: WithTimeout(%v): no call can be that quick; give more than 0", s.timeout)
	}
	if s.token != nil && !s.secure && !isLoopback(s.address) {
		return nil, fmt.Errorf("jobengine: WithToken: anybody between here and %s could read the token; add WithTLS", s.address)
	}
	return s, nil
}

// silence returns how long a watch may be silent before its connection is taken for dead.
func (s *settings) silence() time.Duration {
	return 2*s.heartbeat + time.Second
}

// isLoopback tells whether what is sent to the address stays on this machine.
func isLoopback(address string) bool {
	if strings.HasPrefix(address, "unix:") || strings.HasPrefix(address, "unix-abstract:") {
		return true
	}
	address = strings.TrimPrefix(strings.TrimPrefix(address, "dns:///"), "passthrough:///")
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}
