package https

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// maxDepth is how deep a body may nest. The contract needs five levels.
const maxDepth = 16

// scanner walks over one JSON text (RFC 8259) without building values that
// nobody asked for. A body lists every node that its sender knows and comes with
// most polls of a mesh: encoding/json takes twice as long (BenchmarkParse) before
// any of the checks for depth, for members given twice and for "ID" in the place
// of "id", which it lets pass.
type scanner struct {
	data  []byte
	pos   int
	depth int
}

func (s *scanner) syntax(want string) error {
	return fmt.Errorf("not JSON at byte %d: want %s", s.pos, want)
}

// peek is the first byte of what follows, 0 at the end.
func (s *scanner) peek() byte {
	for s.pos < len(s.data) {
		switch c := s.data[s.pos]; c {
		case ' ', '\t', '\r', '\n':
			s.pos++
		default:
			return c
		}
	}
	return 0
}

// accept steps over c if it follows.
func (s *scanner) accept(c byte) bool {
	if s.peek() != c {
		return false
	}
	s.pos++
	return true
}

func (s *scanner) end() error {
	if s.peek() != 0 || s.pos < len(s.data) {
		return s.syntax("the end")
	}
	return nil
}

// object calls member with every name; member consumes the value.
func (s *scanner) object(member func(name []byte) error) error {
	return s.sequence('{', '}', func() error {
		if s.peek() != '"' {
			return s.syntax("a member's name")
		}
		name, err := s.str()
		if err != nil {
			return err
		}
		if !s.accept(':') {
			return s.syntax("a colon")
		}
		return member(name)
	})
}

// array calls element in front of every element; element consumes it.
func (s *scanner) array(element func() error) error {
	return s.sequence('[', ']', element)
}

func (s *scanner) sequence(first, last byte, item func() error) error {
	if !s.accept(first) {
		return s.syntax(strconv.QuoteRune(rune(first)))
	}
	if s.depth++; s.depth > maxDepth {
		return fmt.Errorf("JSON nested deeper than %d", maxDepth)
	}
	defer func() { s.depth-- }()
	if s.accept(last) {
		return nil
	}
	for {
		if err := item(); err != nil {
			return err
		}
		if s.accept(last) {
			return nil
		}
		if !s.accept(',') {
			return s.syntax("a comma or " + strconv.QuoteRune(rune(last)))
		}
	}
}

// skip steps over any value.
func (s *scanner) skip() error {
	switch s.peek() {
	case '{':
		return s.object(func([]byte) error { return s.skip() })
	case '[':
		return s.array(s.skip)
	case '"':
		_, err := s.raw()
		return err
	case 't':
		return s.literal("true")
	case 'f':
		return s.literal("false")
	case 'n':
		return s.literal("null")
	default:
		_, err := s.digits()
		return err
	}
}

// text is a string's value; ok is false, and the value skipped, when it is
// something else. The bytes are valid until the body's buffer is used again.
func (s *scanner) text() (value []byte, ok bool, err error) {
	if s.peek() != '"' {
		return nil, false, s.skip()
	}
	value, err = s.str()
	return value, err == nil, err
}

// number is a number's value; ok is as in text, and false when it is out of range.
func (s *scanner) number() (value float64, ok bool, err error) {
	if c := s.peek(); c != '-' && (c < '0' || c > '9') {
		return 0, false, s.skip()
	}
	digits, err := s.digits()
	if err != nil {
		return 0, false, err
	}
	value, rangeErr := strconv.ParseFloat(string(digits), 64)
	return value, rangeErr == nil, nil
}

// boolean is true or false; ok is as in text.
func (s *scanner) boolean() (value, ok bool, err error) {
	c := s.peek()
	return c == 't', c == 't' || c == 'f', s.skip()
}

func (s *scanner) literal(word string) error {
	if !bytes.HasPrefix(s.data[s.pos:], []byte(word)) {
		return s.syntax(word)
	}
	s.pos += len(word)
	return nil
}

// str is the value of the string that follows.
func (s *scanner) str() ([]byte, error) {
	raw, err := s.raw()
	if err != nil {
		return nil, err
	}
	if bytes.IndexByte(raw, '\\') < 0 {
		return raw[1 : len(raw)-1], nil
	}
	var value string
	if err := json.Unmarshal(raw, &value); err != nil {
		return nil, s.syntax("a string")
	}
	return []byte(value), nil
}

// raw is the string that follows with its quotes and escapes.
func (s *scanner) raw() ([]byte, error) {
	start := s.pos
	for i := start + 1; i < len(s.data); i++ {
		switch c := s.data[i]; {
		case c == '"':
			s.pos = i + 1
			return s.data[start:s.pos], nil
		case c == '\\':
			n := escapeLen(s.data[i:])
			if n == 0 {
				s.pos = i
				return nil, s.syntax("an escape")
			}
			i += n - 1
		case c < ' ':
			s.pos = i
			return nil, s.syntax("no control character")
		}
	}
	s.pos = len(s.data)
	return nil, s.syntax("the end of a string")
}

// escapeLen is how long the escape at the beginning of b is; 0 when it is none.
func escapeLen(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	if b[1] != 'u' {
		if strings.IndexByte(`"\/bfnrt`, b[1]) < 0 {
			return 0
		}
		return 2
	}
	if len(b) < 6 {
		return 0
	}
	for _, c := range b[2:6] {
		if !isHex(c) {
			return 0
		}
	}
	return 6
}

// digits is the number that follows: -?(0|[1-9][0-9]*)(.[0-9]+)?([eE][+-]?[0-9]+)?
func (s *scanner) digits() ([]byte, error) {
	start := s.pos
	s.one("-")
	if !s.one("0") && s.run() == 0 {
		return nil, s.syntax("a value")
	}
	if s.one(".") && s.run() == 0 {
		return nil, s.syntax("a digit")
	}
	if s.one("eE") {
		s.one("+-")
		if s.run() == 0 {
			return nil, s.syntax("a digit")
		}
	}
	return s.data[start:s.pos], nil
}

// one steps over a byte if it is one of set.
func (s *scanner) one(set string) bool {
	if s.pos < len(s.data) && strings.IndexByte(set, s.data[s.pos]) >= 0 {
		s.pos++
		return true
	}
	return false
}

// run steps over digits and tells how many there were.
func (s *scanner) run() int {
	start := s.pos
	for s.pos < len(s.data) && s.data[s.pos] >= '0' && s.data[s.pos] <= '9' {
		s.pos++
	}
	return s.pos - start
}
