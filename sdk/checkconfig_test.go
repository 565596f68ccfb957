package sdk

import (
	"errors"
	"testing"
)

type checked struct {
	Size int `json:"size"`
}

func (c checked) Validate() error {
	if c.Size < 0 {
		return Invalid("size", "must not be negative")
	}
	return nil
}

func TestCheckConfig(t *testing.T) {
	p := NewPlugin("p", "1.0.0", NewProbe("sized", "1.0.0", func(checked, Env) (Prober, error) { return nil, errors.New("New was called") }))
	for _, c := range []struct{ kind, config, want string }{
		{"sized", "", ""},
		{"sized", `{"size":1}`, ""},
		{"sized", `{"size":-1}`, "size: must not be negative"},
		{"sized", `{"foo":1}`, "foo: unknown key; valid are size"},
		{"sized", `{"szie":1}`, `szie: unknown key; did you mean "size"?`},
		{"sized", `{"siz":1}`, "siz: unknown key; valid are size"},
		{"other", `{}`, `kind "other" is not offered; valid are sized`},
	} {
		got := ""
		for _, e := range p.CheckConfig(c.kind, []byte(c.config)) {
			got += e.Error()
		}
		if got != c.want {
			t.Errorf("%s %s: got %q, want %q", c.kind, c.config, got, c.want)
		}
	}
}
