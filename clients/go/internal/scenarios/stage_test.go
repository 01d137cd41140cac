package scenarios

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

// requestTimeout bounds a request to the stage: a restart takes seconds.
const requestTimeout = time.Minute

// scenario is a case of scenarios.json.
type scenario struct {
	Name    string
	About   string
	Engine  string
	Options []string
	TLS     bool
	Tokens  string
	Policy  string
	Client  clientSettings
	Steps   []json.RawMessage
}

// stages is the HTTP server that sets stages up.
type stages struct{ url string }

// stage is a server with a proxy in front of it, and a directory for its jobs.
type stage struct {
	stages    stages
	ID        string
	Address   string
	Direct    string
	Directory string
}

func (s stages) cases(ctx context.Context) ([]scenario, error) {
	var content struct{ Cases []scenario }
	err := s.request(ctx, http.MethodGet, "/scenarios", nil, &content)
	return content.Cases, err
}

func (s stages) open(ctx context.Context, c scenario) (*stage, error) {
	body := map[string]any{"tls": c.TLS, "tokens": c.Tokens, "policy": c.Policy}
	if c.Engine != "" {
		body["engine"] = c.Engine
	}
	if c.Options != nil {
		body["options"] = c.Options
	}
	opened := &stage{stages: s}
	err := s.request(ctx, http.MethodPost, "/stages", body, opened)
	return opened, err
}

func (s stages) report(ctx context.Context, name string, problem error) error {
	result := map[string]string{"case": name, "error": ""}
	if problem != nil {
		result["error"] = problem.Error()
	}
	return s.request(ctx, http.MethodPost, "/results", result, &struct{}{})
}

func (s *stage) do(ctx context.Context, action, file, text string) error {
	body := map[string]string{"do": action, "file": file, "text": text}
	return s.stages.request(ctx, http.MethodPost, "/stages/"+s.ID, body, &struct{}{})
}

func (s *stage) close(ctx context.Context) error {
	return s.stages.request(ctx, http.MethodDelete, "/stages/"+s.ID, nil, &struct{}{})
}

func (s stages) request(ctx context.Context, method, path string, body, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	content, err := json.Marshal(body)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, method, s.url+path, bytes.NewReader(content))
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s: %s", method, path, response.Status, text)
	}
	return unmarshalStrictly(text, answer)
}

// unmarshalStrictly refuses fields that this player doesn't know: they would ask for something.
func unmarshalStrictly(text []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	return decoder.Decode(into)
}
