package plugins

import "google.golang.org/protobuf/encoding/protowire"

// Types of fields on the wire.
const (
	varintType  = 0
	fixed64Type = 1
	bytesType   = 2 // texts and messages
)

// reader takes a message apart.
type reader struct {
	left  []byte
	field []byte // the whole of the last one
	tag   uint64 // number<<3 | type
	// The value is in one of them, by the type of the field.
	number uint64
	bytes  []byte
	err    error
}

// next is false at the end, and when the message is cut.
func (r *reader) next() bool {
	if len(r.left) == 0 || r.err != nil {
		return false
	}
	tag, head := protowire.ConsumeVarint(r.left)
	if head < 0 {
		r.err = protowire.ParseError(head)
		return false
	}
	body := r.left[head:]
	var n int
	switch tag & 7 {
	case varintType:
		r.number, n = protowire.ConsumeVarint(body)
	case fixed64Type:
		r.number, n = protowire.ConsumeFixed64(body)
	case bytesType:
		r.bytes, n = protowire.ConsumeBytes(body)
	default:
		num, typ := protowire.DecodeTag(tag)
		n = protowire.ConsumeFieldValue(num, typ, body)
	}
	if n < 0 {
		r.err = protowire.ParseError(n)
		return false
	}
	r.tag, r.field, r.left = tag, r.left[:head+n], body[n:]
	return true
}
