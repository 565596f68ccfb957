package sdk

import (
	"errors"
	"fmt"
	"time"
)

// failure is an error that knows its outcome and reason.
type failure struct {
	outcome Outcome
	reason  Reason
	err     error
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// Fail says that the target failed for reason r, which should be a word of the
// vocabulary. The format is that of fmt.Errorf; the message should be one
// sentence of at most 256 bytes. A plain error does the same, its reason is what
// [ReasonOf] tells.
func Fail(r Reason, format string, args ...any) error {
	return &failure{OutcomeFailure, r, fmt.Errorf(format, args...)}
}

// Unsupported says that the target cannot be measured here, for example because
// this system has no IPv6. It says nothing about the target.
func Unsupported(format string, args ...any) error {
	return &failure{OutcomeUnsupported, ReasonUnsupported, fmt.Errorf(format, args...)}
}

// Internal says that the plugin broke; a panic does the same. It says nothing
// about the target. Internal(nil) is nil.
func Internal(err error) error {
	if err == nil {
		return nil
	}
	return &failure{OutcomePluginError, ReasonInternal, err}
}

// delivery is an error that knows whether trying again helps.
type delivery struct {
	retryable bool
	after     time.Duration
	err       error
}

func (d *delivery) Error() string { return d.err.Error() }
func (d *delivery) Unwrap() error { return d.err }

// Retryable says that a delivery may succeed later, not before after; 0 leaves
// the time to the host. Retryable(nil, d) is nil.
func Retryable(err error, after time.Duration) error {
	if err == nil {
		return nil
	}
	return &delivery{retryable: true, after: after, err: err}
}

// Permanent says that delivering the same again is useless. Permanent(nil) is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &delivery{err: err}
}

// Judge tells what err says of a run. Troubles of this system that a plain error
// reports are never counted against the target: no permission is unsupported, and
// so is a run that was canceled; no descriptors or ports is an error of the plugin.
func Judge(err error) (Outcome, Reason) {
	if err == nil {
		return OutcomeSuccess, ""
	}
	var f *failure
	if errors.As(err, &f) {
		r := f.reason
		if !r.Valid() {
			r = ReasonOther
		}
		return f.outcome, r
	}
	switch r := ReasonOf(err); r {
	case ReasonPermission, ReasonCanceled:
		return OutcomeUnsupported, r
	case ReasonResources:
		return OutcomePluginError, r
	default:
		return OutcomeFailure, r
	}
}
