package jobengine_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"jobengine.dev/clients/go/jobengine"
	jobenginev1 "jobengine.dev/clients/go/jobengine/v1"
)

func TestTokenGoesWithEachCallOverMutualTLS(t *testing.T) {
	certificate, pool := selfSigned(t)
	var tokens []string
	address := serve(t, &server{readEngine: func(ctx context.Context) (*jobenginev1.ReadEngineResponse, error) {
		tokens = authorization(ctx)
		return &jobenginev1.ReadEngineResponse{}, nil
	}}, grpc.Creds(credentials.NewTLS(&tls.Config{
		Certificates: []tls.Certificate{certificate},
		ClientCAs:    pool,
		ClientAuth:   tls.RequireAndVerifyClientCert,
	})))
	mutual := &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{certificate}}
	client := newClient(t, address, jobengine.WithTLS(mutual), jobengine.WithToken("secret"))
	if _, err := client.ReadEngine(bounded(t)); err != nil {
		t.Fatal(err)
	}
	if len(tokens) != 1 || tokens[0] != "Bearer secret" {
		t.Errorf("authorization %q", tokens)
	}
	for name, config := range map[string]*tls.Config{"no certificate": {RootCAs: pool}, "another authority": {}} {
		client := newClient(t, address, jobengine.WithTLS(config), jobengine.WithRetryFor(0))
		if _, err := client.ReadEngine(bounded(t)); !errors.Is(err, jobengine.ErrUnavailable) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestAWatchGoesOnWithTheTokenOfNow(t *testing.T) {
	var tokens, cursors []string
	address := serve(t, &server{watchStatus: func(request *jobenginev1.WatchStatusRequest, answers statusWriter) error {
		tokens = append(tokens, authorization(answers.Context())...)
		cursors = append(cursors, request.GetCursor())
		if len(cursors) == 1 {
			answers.Send(running("1"))
			return reauthenticate(t)
		}
		ended := running("2")
		ended.Status.State = jobenginev1.JobState_JOB_STATE_SUCCEEDED
		return answers.Send(ended)
	}})
	asked := 0
	client := newClient(t, address, jobengine.WithTokenFunc(func(context.Context) (string, error) {
		asked++
		return strconv.Itoa(asked), nil
	}))
	events := 0
	for _, err := range client.WatchStatus(bounded(t), "a", jobengine.WatchStatusOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		events++
	}
	if events != 2 || !slices.Equal(cursors, []string{"", "1"}) || !slices.Equal(tokens, []string{"Bearer 1", "Bearer 2"}) {
		t.Errorf("%d events, cursors %q, authorization %q", events, cursors, tokens)
	}
}

func TestWithoutATokenThereIsNoCall(t *testing.T) {
	called := false
	address := serve(t, &server{readEngine: func(context.Context) (*jobenginev1.ReadEngineResponse, error) {
		called = true
		return &jobenginev1.ReadEngineResponse{}, nil
	}})
	client := newClient(t, address, jobengine.WithTokenFunc(func(context.Context) (string, error) {
		return "", errors.New("the file is gone")
	}))
	_, err := client.ReadEngine(bounded(t))
	if !errors.Is(err, jobengine.ErrUnauthenticated) || !strings.Contains(err.Error(), "the file is gone") || called {
		t.Errorf("got %v, called: %v", err, called)
	}
}

// reauthenticate is how a stream ends whose credential isn't good any more.
func reauthenticate(t *testing.T) error {
	t.Helper()
	ended, err := status.New(codes.Unavailable, "show again who you are").WithDetails(
		&errdetails.ErrorInfo{Domain: "jobengine", Reason: "REAUTHENTICATE"},
		&errdetails.RetryInfo{RetryDelay: durationpb.New(time.Millisecond)},
	)
	if err != nil {
		t.Error(err)
	}
	return ended.Err()
}

// selfSigned returns a certificate of 127.0.0.1, and a pool that trusts it.
func selfSigned(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotAfter:     time.Now().Add(time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, pool
}
