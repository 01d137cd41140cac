package jobengine

import (
	"crypto/tls"
	"strings"
	"testing"
	"time"
)

func TestAddressIsTheOneGivenElseTheEnvironmentsElseTheDefault(t *testing.T) {
	t.Setenv("JOBENGINE_ADDRESS", "")
	for _, test := range []struct{ given, environment, expected string }{
		{"", "", "127.0.0.1:50051"},
		{"", "a:1", "a:1"},
		{"b:2", "a:1", "b:2"},
	} {
		t.Setenv("JOBENGINE_ADDRESS", test.environment)
		s, err := newSettings(test.given, nil)
		if err != nil || s.address != test.expected {
			t.Errorf("%+v: got %+v, %v", test, s, err)
		}
	}
}

func TestSilenceIsMeasuredByWhatTheServerMakesOfTheInterval(t *testing.T) {
	for heartbeat, expected := range map[time.Duration]time.Duration{
		100 * time.Millisecond: 3 * time.Second,
		10 * time.Second:       21 * time.Second,
		time.Hour:              601 * time.Second,
	} {
		s, err := newSettings("", []Option{WithHeartbeat(heartbeat)})
		if err != nil || s.silence() != expected {
			t.Errorf("%v: got %v, %v", heartbeat, s.silence(), err)
		}
	}
}

func TestTokenIsRefusedInPlaintextToOtherMachines(t *testing.T) {
	for address, isLocal := range map[string]bool{
		"localhost:1": true, "127.0.0.1:1": true, "127.8.8.8:1": true, "[::1]:1": true, "unix:/run/a": true,
		"dns:///localhost:1": true, "jobs.example.com:1": false, "10.0.0.1:1": false, "[2001:db8::1]:1": false,
		"localhost.example.com:1": false, "dns:///10.0.0.1:1": false, "localhost": false,
	} {
		_, err := New(address, WithToken("secret"))
		if (err == nil) != isLocal {
			t.Errorf("%s: %v", address, err)
		}
		if err != nil && (!strings.Contains(err.Error(), "WithTLS") || strings.Contains(err.Error(), "secret")) {
			t.Errorf("%s: %v", address, err)
		}
		if _, err := New(address, WithToken("secret"), WithTLS(&tls.Config{})); err != nil {
			t.Errorf("%s with TLS: %v", address, err)
		}
	}
}

func TestTimeoutHasToBePositive(t *testing.T) {
	if _, err := New("", WithTimeout(0)); err == nil || !strings.Contains(err.Error(), "WithTimeout(0s)") {
		t.Errorf("got %v", err)
	}
}
