package sdk

import "time"

// Duration is a [time.Duration] that is a text like "30s" wherever it is written,
// not only in a configuration. Fields of a configuration may be either.
type Duration time.Duration

// Std is d for the standard library.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// String is like "1m30s".
func (d Duration) String() string { return d.Std().String() }

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler. The error is that of
// [time.ParseDuration].
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	*d = Duration(v)
	return err
}
