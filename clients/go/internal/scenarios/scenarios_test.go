package scenarios

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"jobengine.dev/clients/go/jobengine"
)

func TestScenarios(t *testing.T) {
	url := os.Getenv("JOBENGINE_STAGE")
	if url == "" {
		t.Skip("JOBENGINE_STAGE isn't set: run this by python -m tests.clients")
	}
	stages := stages{url}
	cases, err := stages.cases(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			err := play(t.Context(), c, stages)
			if err != nil {
				t.Error(err)
			}
			if err := stages.report(t.Context(), c.Name, err); err != nil {
				t.Error(err)
			}
		})
	}
}

// play plays one case on a stage of its own.
func play(ctx context.Context, c scenario, stages stages) (err error) {
	stage, err := stages.open(ctx, c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stage.close(ctx)) }()
	options, err := c.Client.options(stage.Directory)
	if err != nil {
		return err
	}
	caller, err := jobengine.New(stage.Address, options...)
	if err != nil {
		return err
	}
	defer caller.Close()
	direct, err := jobengine.New(stage.Direct, options...)
	if err != nil {
		return err
	}
	defer direct.Close()
	player := &player{stage, caller, direct, map[string]*stream{}, map[string]string{"${directory}": stage.Directory}}
	defer func() { err = errors.Join(err, player.dropStreams()) }()
	for _, raw := range c.Steps {
		if err := player.take(ctx, raw); err != nil {
			return fmt.Errorf("%s: %w", raw, err)
		}
	}
	return nil
}

// clientSettings are a case's settings of the client.
type clientSettings struct {
	TimeoutSeconds   *float64
	RetryForSeconds  *float64
	ResumeForSeconds *float64
	HeartbeatSeconds *float64
	CA               string
	Token            string
}

func (s clientSettings) options(directory string) ([]jobengine.Option, error) {
	var options []jobengine.Option
	for _, one := range []struct {
		seconds *float64
		option  func(time.Duration) jobengine.Option
	}{
		{s.TimeoutSeconds, jobengine.WithTimeout},
		{s.RetryForSeconds, jobengine.WithRetryFor},
		{s.ResumeForSeconds, jobengine.WithResumeFor},
		{s.HeartbeatSeconds, jobengine.WithHeartbeat},
	} {
		if one.seconds != nil {
			options = append(options, one.option(seconds(*one.seconds)))
		}
	}
	if s.Token != "" {
		file := strings.ReplaceAll(s.Token, "${directory}", directory)
		options = append(options, jobengine.WithTokenFunc(func(context.Context) (string, error) {
			token, err := os.ReadFile(file)
			return string(token), err
		}))
	}
	if s.CA != "" {
		pem, err := os.ReadFile(strings.ReplaceAll(s.CA, "${directory}", directory))
		if err != nil {
			return nil, err
		}
		authorities := x509.NewCertPool()
		if !authorities.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s has no certificate", s.CA)
		}
		options = append(options, jobengine.WithTLS(&tls.Config{RootCAs: authorities}))
	}
	return options, nil
}

func seconds(s float64) time.Duration {
	return time.Duration(s * float64(time.Second))
}
