package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
)

// A log (SQLite's WAL) that was left by a kill is played into the database at the
// next start, up to the first frame whose sum is wrong: SQLite takes that for the
// end, and says nothing. Here it is found whether there was more. See "WAL-Index
// Header" and "The Checksum Algorithm" in SQLite's file format.

const (
	logHead   = 32
	frameHead = 24
	frameSize = frameHead + pageSize
	sumSize   = 8 // the last of a head
	// indexHead is what -shm begins with, twice; behind it is how much of the log is
	// in the database.
	indexHead = 48
)

type logSum [2]uint32

func storedSum(b []byte) logSum {
	return logSum{binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])}
}

// add goes on with a multiple of 8 bytes.
func (s logSum) add(b []byte, order binary.ByteOrder) logSum {
	for ; len(b) >= 8; b = b[8:] {
		s[0] += order.Uint32(b) + s[1]
		s[1] += order.Uint32(b[4:]) + s[0]
	}
	return s
}

// frameSum is what the head of a frame has as its sum, before being that of the
// frame before, or of the head of the log.
func frameSum(before logSum, head, page []byte, order binary.ByteOrder) logSum {
	return before.add(head[:8], order).add(page, order)
}

// sumBefore is where that is for the frame at head.
func sumBefore(head int64) int64 {
	if head == logHead {
		return head - sumSize
	}
	return head - frameSize + frameHead - sumSize
}

// committed tells of a head of a frame whether that is the last of a transaction.
func committed(head []byte) bool { return binary.BigEndian.Uint32(head[4:]) != 0 }

// leftLog is what a log at rest has; all are counts of frames from its beginning.
type leftLog struct {
	good  int // through the last that SQLite will take
	known int // that were committed, as far as that can be told
	// done are in the database, those up to begun perhaps.
	done, begun int
}

// readLog reads the log of a database that nobody has open.
func readLog(path string) (leftLog, error) {
	var l leftLog
	b, err := readIfThere(path + "-wal")
	if err != nil {
		return l, err
	}
	index, err := readIfThere(path + "-shm")
	if err != nil {
		return l, err
	}
	salt := l.read(b)
	if !l.readIndex(index, salt) && l.torn(b, salt) {
		l.known++
	}
	l.known = max(l.known, l.good)
	return l, nil
}

func readIfThere(name string) ([]byte, error) {
	b, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return b, err
}

// read looks at all frames, and returns the salt that they have; nil when the
// head does not tell. A frame is known to be of this log when it has its salt, and
// fits the one before; so one that is damaged is known by the one behind it.
// Behind the end are frames of before the log was begun anew.
func (l *leftLog) read(b []byte) (salt []byte) {
	if len(b) < logHead {
		return nil
	}
	order, sound := logOrder(b[:logHead])
	salt = b[16:24]
	if !sound && len(b) >= logHead+frameHead {
		salt = b[logHead+8 : logHead+16]
	}
	chain := sound
	for n, at := 1, int64(logHead); at+frameSize <= int64(len(b)); n, at = n+1, at+frameSize {
		head := b[at : at+frameHead]
		ours := bytes.Equal(head[8:16], salt)
		fits := frameSum(storedSum(b[sumBefore(at):]), head, b[at+frameHead:at+frameSize], order) == storedSum(head[frameHead-sumSize:])
		salted := chain && fits && !ours // what is damaged is the salt
		switch chain = chain && fits && ours; {
		case chain && committed(head):
			l.good = n
		case !chain && fits && (ours || salted):
			l.known = n
		}
	}
	return salt
}

// logOrder is how the sums of a log were made, and whether its head is sound.
func logOrder(head []byte) (order binary.ByteOrder, sound bool) {
	for magic, order := range map[uint32]binary.ByteOrder{0x377f0682: binary.LittleEndian, 0x377f0683: binary.BigEndian} {
		if binary.BigEndian.Uint32(head) == magic && (logSum{}).add(head[:logHead-sumSize], order) == storedSum(head[logHead-sumSize:]) {
			return order, true
		}
	}
	return binary.LittleEndian, false
}

// torn tells whether the frame behind the good ones is the last of a transaction
// and not as it was written: by a kill on the way, or damaged since.
func (l *leftLog) torn(b, salt []byte) bool {
	at := logHead + l.good*frameSize
	for ; at+frameSize <= len(b) && bytes.Equal(b[at+8:at+16], salt); at += frameSize {
		if committed(b[at:]) {
			return true
		}
	}
	return false
}

// readIndex reads what -shm says of the log; false when it says nothing.
func (l *leftLog) readIndex(b, salt []byte) bool {
	const begun = 128 // behind it nothing matters here
	if len(b) < begun+4 || !bytes.Equal(b[:indexHead], b[indexHead:2*indexHead]) || indexNumber(b, 0) != 3007000 {
		return false
	}
	if salt != nil && !bytes.Equal(b[32:40], salt) {
		return false
	}
	frames := indexNumber(b, 16)
	l.known = max(l.known, frames)
	if done, begun := indexNumber(b, 2*indexHead), indexNumber(b, begun); done <= begun && begun <= frames {
		l.done, l.begun = done, begun
	}
	return true
}

func indexNumber(b []byte, at int) int { return int(binary.NativeEndian.Uint32(b[at:])) }

// logged is the sums of the pages, as they are last in the log that a kill has
// left, by their numbers.
func logged(path string) (map[uint32]uint32, error) {
	b, err := readIfThere(path + "-wal")
	if err != nil {
		return nil, err
	}
	var l leftLog
	l.read(b)
	pages := map[uint32]uint32{}
	for n := range l.good {
		frame := b[logHead+n*frameSize:][:frameSize]
		pages[binary.BigEndian.Uint32(frame)] = crc32.Checksum(frame[frameHead:], castagnoli)
	}
	return pages, nil
}

// checkLog tells when a log that was left has less than it should, and takes it
// away where what is in it is older than what the database has of it.
func (s *Store) checkLog() error {
	path := s.o.Path
	l, err := readLog(path)
	if err != nil || l.known <= l.good {
		return err
	}
	aside := path + ".corrupt-" + stamp(s.o.Now())
	if err := keepLog(path, aside, l.begun > l.good); err != nil {
		return err
	}
	if l.done < l.known {
		s.tell(Mishap{Text: fmt.Sprintf("the log of the database was damaged while the node did not run: %d of its last %d pages are lost, with what was stored right before the end; it is kept as %s",
			l.known-max(l.good, l.done), l.known, aside+"-wal")})
	}
	return dropOldCorrupt(path)
}

// keepLog copies the log, which may not be there, and removes it if need be.
func keepLog(path, aside string, remove bool) error {
	b, err := readIfThere(path + "-wal")
	if err != nil {
		return err
	}
	if err := os.WriteFile(aside+"-wal", b, 0o600); err != nil && !noRoom(err) {
		return err
	}
	if remove {
		return os.Truncate(path+"-wal", 0)
	}
	return nil
}
