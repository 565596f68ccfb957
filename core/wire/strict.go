package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Limits of a JSON text from outside. A full report (MaxNodes nodes of 8 fields,
// MaxPaths paths of 8 fields and some metrics) has 150,000 values.
const (
	maxDepth    = 16
	maxElements = MaxPaths
	maxFields   = maxMetrics
	maxValues   = 300_000
)

// errTrailing is for bytes after the value.
var errTrailing = errors.New("data after the end of the JSON object")

// level is an object or array that is open while a text is scanned.
type level struct {
	array    bool
	key      bool // in an object: the next string is a field's name
	elements int
	names    map[string]struct{}
}

// scanner finds what encoding/json would let pass: depth, number of values,
// fields given twice, and names that differ from ours in case only (they would
// be taken for ours).
type scanner struct {
	open   []level
	values int
}

// checkObject tells why data is not one JSON object within the limits.
func checkObject(data []byte) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var s scanner
	for {
		token, err := d.Token()
		if err != nil {
			return fmt.Errorf("not a JSON object: %w", unexpected(err))
		}
		if err := s.take(token); err != nil {
			return err
		}
		if len(s.open) == 0 {
			break
		}
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errTrailing
	}
	return nil
}

// unexpected turns the end of the input within a value into what it is.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (s *scanner) take(token json.Token) error {
	delim, isDelim := token.(json.Delim)
	if len(s.open) == 0 && delim != '{' {
		return errors.New("not a JSON object")
	}
	if isDelim && (delim == '}' || delim == ']') {
		s.open = s.open[:len(s.open)-1]
		return nil
	}
	if len(s.open) > 0 {
		name, isName, err := s.top().next(token)
		if err != nil || isName {
			return describe(err, name)
		}
	}
	if s.values++; s.values > maxValues {
		return fmt.Errorf("more than %d values", maxValues)
	}
	if !isDelim {
		return nil
	}
	if len(s.open) == maxDepth {
		return fmt.Errorf("nested more than %d deep", maxDepth)
	}
	s.open = append(s.open, level{array: delim == '[', key: delim == '{'})
	return nil
}

func (s *scanner) top() *level { return &s.open[len(s.open)-1] }

// next counts token as an element of the level, or takes it as a field's name.
func (l *level) next(token json.Token) (name string, isName bool, err error) {
	if l.array || !l.key {
		l.key = !l.array
		if l.elements++; l.array && l.elements > maxElements {
			return "", false, fmt.Errorf("an array of more than %d elements", maxElements)
		}
		return "", false, nil
	}
	l.key = false
	name = token.(string)
	if l.names == nil {
		l.names = make(map[string]struct{}, 8)
	}
	if _, twice := l.names[name]; twice {
		return name, true, errors.New("is there twice")
	}
	l.names[name] = struct{}{}
	switch {
	case !isWord(name, maxProbe):
		return name, true, errors.New("field names are lower-case words")
	case len(l.names) > maxFields:
		return name, true, fmt.Errorf("an object of more than %d fields", maxFields)
	}
	return name, true, nil
}

// describe adds the field's name to err, cut to a length fit for a message.
func describe(err error, name string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("field %.40q: %w", name, err)
}
