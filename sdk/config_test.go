package sdk_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/seahow-uk/nodeprobe/sdk"
	"github.com/seahow-uk/nodeprobe/sdk/plugintest"
)

type server struct {
	Host string `json:"host" nodeprobe:"required"`
	Port uint16 `json:"port"`
}

func (s *server) SetDefaults() { s.Port = 53 }

func (s *server) Validate() error {
	if s.Port == 0 {
		return sdk.Invalid("port", "must not be 0")
	}
	return nil
}

type common struct {
	Retries int8 `json:"retries"`
}

type settings struct {
	common
	Name    string            `json:"name" jsonschema:"name to look up"`
	Wait    time.Duration     `json:"wait"`
	Pause   sdk.Duration      `json:"pause"`
	Servers []server          `json:"servers"`
	Backup  *server           `json:"backup"`
	From    netip.Addr        `json:"from"`
	Labels  map[string]string `json:"labels"`
	Ratio   float64           `json:"ratio"`
	Strict  bool              `json:"strict"`
	Key     []byte            `json:"key"`
	Hidden  string            `json:"-"`
}

func (s *settings) SetDefaults() { s.Name, s.Wait, s.Retries = "example.com", 2*time.Second, 3 }

func (s *settings) Validate() error {
	var errs []error
	if s.Ratio > 1 {
		errs = append(errs, errors.New("ratio: want 0 to 1"))
	}
	if s.Wait <= 0 {
		errs = append(errs, sdk.Invalid("wait", "want more than 0"))
	}
	return errors.Join(errs...)
}

// configurable serves a probe whose attributes are its configuration.
func configurable(t *testing.T) *plugintest.Harness {
	t.Helper()
	return plugintest.Start(t, sdk.NewProbe("dns", "1.0.0", func(c settings, _ sdk.Env) (sdk.Prober, error) {
		return sdk.ProberFunc(func(context.Context, sdk.Target) (sdk.Result, error) {
			return sdk.Result{Attributes: map[string]string{"config": fmt.Sprintf("%+v", c)}}, nil
		}), nil
	}), plugintest.Options{})
}

// badConfigs are refused, with these errors and no others.
var badConfigs = []struct{ config, want string }{
	{`[]`, "got a list, want an object"},
	{`{"nmae":"x"}`, `nmae: unknown key; did you mean "name"?`},
	{`{"Name":"x"}`, `Name: unknown key; did you mean "name"?`},
	{`{"Hidden":"x"}`, "Hidden: unknown key; valid are retries, name, wait, pause, servers, backup, from, labels, ratio, strict, key"},
	{`{"name":"x","name":"y"}`, "name: is given twice"},
	{`{"name":null}`, "name: got null, want a text"},
	{`{"name":7}`, "name: got 7, want a text"},
	{`{"retries":128}`, "retries: got 128, want a whole number from -128 to 127"},
	{`{"retries":1.5}`, "retries: got 1.5, want a whole number from -128 to 127"},
	{`{"wait":3}`, `wait: got 3, want a duration such as "30s"`},
	{`{"wait":"0s"}`, "wait: want more than 0"},
	{`{"pause":"soon"}`, `pause: got "soon", want a duration such as "30s"`},
	{`{"servers":{}}`, "servers: got an object, want a list"},
	{`{"servers":[{"host":"a"},{"host":"b","port":70000}]}`, "servers[1].port: got 70000, want a whole number from 0 to 65535"},
	{`{"servers":[{"port":1}]}`, "servers[0].host: is required"},
	{`{"servers":[{"host":"a","port":0}]}`, "servers[0].port: must not be 0"},
	{`{"backup":{"host":"a","port":0}}`, "backup.port: must not be 0"},
	{`{"labels":{"a":1}}`, "labels.a: got 1, want a text"},
	{`{"ratio":2,"wait":"0s"}`, "ratio: want 0 to 1; wait: want more than 0"},
	{`{"strict":"yes"}`, `strict: got "yes", want true or false`},
	{`{"key":"%"}`, `key: got "%", want a text in base64`},
	{`{"nmae":1,"wait":3}`, `nmae: unknown key; did you mean "name"?; wait: got 3, want a duration such as "30s"`},
}

func TestBadConfigurations(t *testing.T) {
	h := configurable(t)
	for _, tt := range badConfigs {
		var got []string
		for _, e := range h.TryConfigure("a", "dns", rawJSON(tt.config)) {
			got = append(got, e.Error())
		}
		if text := strings.Join(got, "; "); text != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.config, text, tt.want)
		}
	}
}

// rawJSON goes to the plugin as it is.
type rawJSON string

func (r rawJSON) MarshalJSON() ([]byte, error) { return []byte(r), nil }

func TestGoodConfigurations(t *testing.T) {
	h := configurable(t)
	for _, tt := range []struct{ config, want string }{
		{``, "common:{Retries:3} Name:example.com Wait:2s"},
		{`{"retries":0,"wait":"1m","pause":"1s"}`, "common:{Retries:0} Name:example.com Wait:1m0s Pause:1s"},
		{`{"servers":[{"host":"a"},{"host":"b","port":5}]}`, "Servers:[{Host:a Port:53} {Host:b Port:5}]"},
		{`{"from":"192.0.2.1","labels":{"a":"b"},"key":"QUI="}`, "From:192.0.2.1 Labels:map[a:b] Ratio:0 Strict:false Key:[65 66]"},
		{`{"backup":null}`, "Backup:<nil>"},
	} {
		var config any
		if tt.config != "" {
			config = rawJSON(tt.config)
		}
		h.Configure("a", "dns", config)
		if got := h.Run("a", sdk.Target{}).Result.Attributes["config"]; !strings.Contains(got, tt.want) {
			t.Errorf("%s: got %s, want %s in it", tt.config, got, tt.want)
		}
	}
}

// What the schema allows and what the decoder takes are the same, but for what a
// schema cannot say.
func TestSchemaAgreesWithTheDecoder(t *testing.T) {
	part := sdk.NewProbe("dns", "1.0.0", func(settings, sdk.Env) (sdk.Prober, error) { return nil, nil })
	d := sdk.NewPlugin("dns", "1.0.0", part).Describe()
	var s jsonschema.Schema
	if err := json.Unmarshal(d.Probes[0].Schema, &s); err != nil {
		t.Fatal(err)
	}
	r, err := s.Resolve(nil)
	if err != nil {
		t.Fatal(err)
	}
	unsaid := []string{"is given twice", "must not be 0", "want more than 0", "want 0 to 1", "in base64"}
	for _, tt := range badConfigs {
		var v any
		allowed := json.Unmarshal([]byte(tt.config), &v) == nil && r.Validate(v) == nil
		said := true
		for _, words := range unsaid {
			said = said && !strings.Contains(tt.want, words)
		}
		if said && allowed {
			t.Errorf("the schema allows %s, the decoder says: %s", tt.config, tt.want)
		}
	}
	for _, good := range []string{`{}`, `{"wait":"1h30m","backup":null,"servers":[{"host":"a"}],"from":"::1","labels":{}}`} {
		var v any
		if err := json.Unmarshal([]byte(good), &v); err != nil {
			t.Fatal(err)
		}
		if err := r.Validate(v); err != nil {
			t.Errorf("the schema refuses %s: %v", good, err)
		}
	}
	for path, want := range map[string]string{"name": `"example.com"`, "wait": `"2s"`, "retries": "3"} {
		if got := s.Properties[path].Default; string(got) != want {
			t.Errorf("default of %s: got %s, want %s", path, got, want)
		}
	}
	if got := s.Properties["name"].Description; got != "name to look up" {
		t.Errorf("got the description %q", got)
	}
}
