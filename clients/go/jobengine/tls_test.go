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
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

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
