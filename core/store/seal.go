package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/url"
	"os"
	"time"
)

// SQLite has no check sums: a bit that turns in a value is another value. So the
// last four bytes of every page, which SQLite leaves alone when the header of the
// file says so ("reserved space" in its file format), have the CRC-32C of the page
// and its number: the seal. It is put on and looked at where pages are written to
// the file and read from it (see vfs.go), and covers tables, indexes and schema
// alike, for 0.1 % of the size and 0.3 us a page; any sqlite3 shell reads on as
// before. Four bytes, as that is what CRC-32C has: it finds every change of up to
// three bits in a page and every burst of up to 32, and lets one in 4e9 of other
// damages pass; with two bytes that would be one in 65,000.
//
// Other programs know nothing of seals, and may read and write all the same. What
// they leave in the place of the seal is what SQLite had there: of a page that came
// from a log of ours zeros, as those are what SQLite gets to see here, and of a
// page that they changed the seal of before. The second is just what damage looks
// like; so what matters is who can have written.
//
//   - While a node runs: nobody else. Other programs write to the log, whose frames
//     have sums of SQLite's own, and the node takes them into the file, with seals.
//     To take them there is refused to all others: see holdsParameter.
//   - After a node has closed the database: others, without a log, as its header
//     says that there is none. Then each of their transactions puts up the change
//     counter in the header. The node leaves a copy of that (in user_version, which is
//     free for such things): when they differ, others have written. Then SQLite is
//     asked about all there is, indexes as well, and the pages are sealed as they are
//     when it finds them sound. Damage that it cannot see is not found in this case;
//     so it is logged that others have written.
//   - After a kill the log is there, and others may have taken some of it into the
//     file. A page without a seal is sound then, and so is one that is in the log as
//     it is in the file. If the log is not there, others had the database: as above.

const (
	// pageSize is that of every database made here.
	pageSize = 4096
	// sealBytes at the end of a page are its seal, little-endian.
	sealBytes = 4
	// reservedAt is where the header of a file says how many bytes of a page are
	// not SQLite's.
	reservedAt = 20
	// writeVersionAt and readVersionAt are where it says whether there may be a log.
	writeVersionAt, readVersionAt = 18, 19
	withoutLog, withLog           = 1, 2
	headerSize                    = 100
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sealOf is the seal of a page, never 0. It begins with the number of the page: one
// in the place of another is damage, too.
func sealOf(page []byte, number uint32) uint32 {
	sum := crc32.Update(number, castagnoli, page[:pageSize-sealBytes])
	return max(sum, 1)
}

func sealed(page []byte) uint32 { return binary.LittleEndian.Uint32(page[pageSize-sealBytes:]) }

func putSeal(page []byte, seal uint32) {
	binary.LittleEndian.PutUint32(page[pageSize-sealBytes:], seal)
}

// goodSeal tells whether a page is as it was written.
func goodSeal(page []byte, number uint32) bool {
	return sealed(page) == sealOf(page, number)
}

// sealNew makes an empty file a database without tables whose pages have seals.
// What is in the header: see "The Database Header" in SQLite's file format.
func sealNew(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.Size() > 0 {
		return err
	}
	const (
		tableLeaf = 0x0d
		contentAt = headerSize + 5 // where in the page its rows begin
	)
	page := make([]byte, pageSize)
	copy(page, header(1))
	binary.BigEndian.PutUint32(page[schemaCookieAt:], 0) // no schema yet
	page[headerSize] = tableLeaf
	binary.BigEndian.PutUint16(page[contentAt:], pageSize-sealBytes)
	putSeal(page, sealOf(page, 1))
	if _, err := f.WriteAt(page, 0); err != nil {
		return errors.Join(err, f.Truncate(0))
	}
	return f.Sync()
}

// Where numbers of 4 bytes are in the header of a file. What is not here is 0.
const (
	changeCounterAt = 24
	pageCountAt     = 28
	schemaCookieAt  = 40
	schemaFormatAt  = 44
	autoVacuumAt    = 52 // the largest root page, when there is auto-vacuum
	encodingAt      = 56
	userVersionAt   = 60 // the change counter when a node had closed the file
	incrementalAt   = 64 // auto-vacuum is incremental
	validForAt      = 92 // the change counter that the page count is true of
	versionAt       = 96
)

// header is that of databases made here.
func header(pages uint32) []byte {
	const (
		schemaFormat = 4
		utf8         = 1
		version      = 3_046_000 // of SQLite, any that knows all of this
	)
	h := make([]byte, headerSize)
	// The page size, the two versions of the format, without a log yet, the bytes reserved in
	// a page, and three fractions that are always the same.
	copy(h, "SQLite format 3\x00\x10\x00\x01\x01\x04\x40\x20\x20")
	for at, v := range map[int]uint32{
		changeCounterAt: 1, pageCountAt: pages, schemaCookieAt: 1, schemaFormatAt: schemaFormat, autoVacuumAt: 1,
		encodingAt: utf8, incrementalAt: 1, validForAt: 1, versionAt: version,
	} {
		binary.BigEndian.PutUint32(h[at:], v)
	}
	return h
}

// hasSeals tells whether the pages of a database have seals, by its header.
func hasSeals(path string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	h := make([]byte, headerSize)
	if _, err := f.ReadAt(h, 0); err != nil {
		return false, ignoreEOF(err)
	}
	return h[reservedAt] == sealBytes, nil
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// lastUse is what is known of the end of the last use of a database.
type lastUse int

const (
	closedByNode lastUse = iota
	usedByOthers         // by another program after the node
	killed               // there is a log
)

func lastUseOf(path string, page1 []byte) lastUse {
	number := func(at int) uint32 { return binary.BigEndian.Uint32(page1[at:]) }
	switch counter := number(changeCounterAt); {
	case page1[readVersionAt] == withLog && fileSize(path+"-wal") > logHead:
		return killed
	case page1[readVersionAt] == withLog, sealed(page1) == 0,
		!goodSeal(page1, 1) && counter == number(validForAt) && counter != number(userVersionAt):
		return usedByOthers
	}
	return closedByNode
}

// beginUse seals what other programs have put into the file, as told above, and
// has the header say that a node uses it. It returns how many pages others have
// changed. Nobody here has the file open.
func beginUse(ctx context.Context, path string) (others int, err error) {
	if fileSize(path+"-journal") > 0 {
		_ = checkOthers(ctx, path) // undoes what another program was killed in
	}
	page1, err := readPage1(path)
	if err != nil || page1 == nil {
		return 0, err
	}
	last := lastUseOf(path, page1)
	sound := func(uint32, []byte) bool { return false }
	switch last {
	case usedByOthers:
		sound = func(_ uint32, page []byte) bool { return fromLog(page) }
	case killed:
		inLog, err := logged(path)
		if err != nil {
			return 0, err
		}
		sound = func(number uint32, page []byte) bool {
			return fromLog(page) || inLog[number] == crc32.Checksum(page, castagnoli)
		}
	}
	changed, err := adopt(path, sound)
	if err == nil && changed > 0 && last == usedByOthers && checkOthers(ctx, path) == nil {
		others = changed
		_, err = adopt(path, func(uint32, []byte) bool { return true })
	}
	if err != nil {
		return 0, err
	}
	return others, markUse(ctx, path)
}

// fromLog tells of a page that has no seal, and is one.
func fromLog(page []byte) bool { return sealed(page) == 0 && !empty(page) }

// readPage1 is nil when the database has no seals, or no page.
func readPage1(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	page := make([]byte, pageSize)
	if _, err := f.ReadAt(page, 0); err != nil || page[reservedAt] != sealBytes {
		return nil, ignoreEOF(err)
	}
	return page, nil
}

// adopt seals the pages that are sound though they have no good seal, and counts
// the others that have none: they are found by the first to read them.
func adopt(path string, sound func(number uint32, page []byte) bool) (others int, err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	page := make([]byte, pageSize)
	for number := uint32(1); ; number++ {
		at := int64(number-1) * pageSize
		if _, err := f.ReadAt(page, at); err != nil {
			return others, ignoreEOF(err)
		}
		switch {
		case goodSeal(page, number):
			continue
		case !sound(number, page):
			others++
			continue
		}
		seal := binary.LittleEndian.AppendUint32(nil, sealOf(page, number))
		if _, err := f.WriteAt(seal, at+pageSize-sealBytes); err != nil {
			return 0, fmt.Errorf("seal page %d: %w", number, err)
		}
	}
}

// markUse has the header say that there may be a log. The change counter goes up,
// so that a program that had the file open before looks. It waits some seconds for
// others to be done.
func markUse(ctx context.Context, path string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return rewritePage1(ctx, path, func(page []byte) bool {
		if page[readVersionAt] == withLog {
			return false
		}
		counter := binary.BigEndian.Uint32(page[changeCounterAt:]) + 1
		binary.BigEndian.PutUint32(page[changeCounterAt:], counter)
		binary.BigEndian.PutUint32(page[validForAt:], counter)
		page[writeVersionAt], page[readVersionAt] = withLog, withLog
		return true
	})
}

// endUse has the header say that there is no log, and what the change counter is.
// Nobody here has the file open; errInUse when another program has.
func endUse(path string) error {
	now, cancel := context.WithCancel(context.Background())
	cancel()
	return rewritePage1(now, path, func(page []byte) bool {
		if _, err := os.Stat(path + "-wal"); err == nil || page[readVersionAt] != withLog {
			return false
		}
		copy(page[userVersionAt:], page[changeCounterAt:changeCounterAt+4])
		page[writeVersionAt], page[readVersionAt] = withoutLog, withoutLog
		return true
	})
}

var errInUse = errors.New("another program uses the database")

// rewritePage1 changes page 1 and its seal while nobody else uses the file, and
// reports errInUse when that does not come before ctx ends. A page that is damaged,
// or that change says no to, stays as it is.
func rewritePage1(ctx context.Context, path string, change func(page []byte) bool) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close() // ends the lock, too
	page := make([]byte, pageSize)
	read := func() (bool, error) {
		_, err := f.ReadAt(page, 0)
		return err == nil && page[reservedAt] == sealBytes && goodSeal(page, 1) && change(page), ignoreEOF(err)
	}
	if change, err := read(); !change {
		return err
	}
	for {
		held, err := lockDatabase(f)
		if err == nil {
			break
		}
		if !held {
			return err
		}
		select {
		case <-ctx.Done():
			return errInUse
		case <-time.After(20 * time.Millisecond):
		}
	}
	if change, err := read(); !change {
		return err
	}
	putSeal(page, sealOf(page, 1))
	_, err = f.WriteAt(page, 0)
	return err
}

// checkOthers asks SQLite whether a database is sound that other programs have
// changed; what they were killed in is undone by that.
func checkOthers(ctx context.Context, path string) error {
	db, err := openPoolIn(ctx, "", path, 1, url.Values{busyParameter: {"5000"}, "_pragma": {"cache_size(-400)"}})
	if err != nil {
		return err
	}
	return errors.Join(soundBy(ctx, db, "integrity_check"), db.Close())
}

// firstDamaged is the number of the first page without a good seal; 0 for none.
func firstDamaged(f io.ReaderAt) uint32 {
	page := make([]byte, pageSize)
	for number := uint32(1); ; number++ {
		if _, err := f.ReadAt(page, int64(number-1)*pageSize); err != nil {
			return 0
		}
		if !goodSeal(page, number) && !empty(page) {
			return number
		}
	}
}
