package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"sync"
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// vfsName is what databases are opened with: the file system of SQLite's own, but
// for what is read from and written to databases and their logs.
const vfsName = "sealed"

// vfs is how SQLite knows it. All memory here is SQLite's, which Go does not move.
type vfs struct {
	sqlite3.Tsqlite3_vfs
	own   uintptr // SQLite's own
	holds uintptr // holdsParameter
}

// holdsParameter in the URI of a database has the connection hold the lock that a
// checkpoint needs for as long as it is open: nobody else takes the log into the
// file then.
const holdsParameter = "holds"

// sealedFile lies behind SQLite's own description of an open file, whose functions
// are these.
type sealedFile struct {
	sqlite3.Tsqlite3_io_methods
	own  uintptr // SQLite's own functions
	kind fileKind
	// from is where in a log that begins which is not committed. There SQLite writes
	// as it likes, and sets the sums right before it commits.
	from int64
	// writing tells of a database that the connection has begun to change.
	writing bool
	// holds the lock for checkpoints, as soon as it can be had; holding: it has it.
	holds, holding bool
}

type fileKind uintptr

const (
	filePlain  fileKind = iota // a database that has no seals, or none yet
	fileSealed                 // one that has
	fileLog
)

type (
	openFunc  = func(tls *libc.TLS, vfs, name, file uintptr, flags int32, out uintptr) int32
	readFunc  = func(tls *libc.TLS, file, buf uintptr, n int32, pos int64) int32
	writeFunc = readFunc
	lockFunc  = func(tls *libc.TLS, file uintptr, first, n, flags int32) int32
	unmapFunc = func(tls *libc.TLS, file uintptr, remove int32) int32
	askFunc   = func(tls *libc.TLS, file uintptr, what int32, about uintptr) int32
)

// register makes it known to SQLite, for the whole process.
var register = sync.OnceValue(func() error {
	tls := libc.NewTLS()
	defer tls.Close()
	own := sqlite3.Xsqlite3_vfs_find(tls, 0)
	name, err := libc.CString(vfsName)
	holds, err2 := libc.CString(holdsParameter)
	if own == 0 || err != nil || err2 != nil {
		return errors.New("no file system for databases")
	}
	p := sqlite3.Xsqlite3_malloc(tls, int32(unsafe.Sizeof(vfs{})))
	if p == 0 {
		return errors.New("no memory for a file system for databases")
	}
	v, open := at[vfs](p), openFunc(openFile)
	*v = vfs{*at[sqlite3.Tsqlite3_vfs](own), own, holds}
	v.FpNext, v.FzName, v.FxOpen = 0, name, pointerTo(&open)
	v.FszOsFile = int32(behind(own) + unsafe.Sizeof(sealedFile{}))
	if rc := sqlite3.Xsqlite3_vfs_register(tls, p, 0); rc != sqlite3.SQLITE_OK {
		return fmt.Errorf("register a file system for databases: error %d", rc)
	}
	return nil
})

// behind is how far SQLite's own description of a file reaches.
func behind(own uintptr) uintptr { return uintptr(at[sqlite3.Tsqlite3_vfs](own).FszOsFile+7) &^ 7 }

// at is what is at p.
func at[T any](p uintptr) *T { return *(**T)(unsafe.Pointer(&p)) }

func bytesAt(p uintptr, n int32) []byte { return unsafe.Slice(at[byte](p), n) }

// pointerTo is the pointer that SQLite has to a function of Go, function the
// function that it has a pointer to: as the translator of SQLite has them.
func pointerTo[F any](f *F) uintptr { return *(*uintptr)(unsafe.Pointer(f)) }

func function[F any](pointer uintptr) F { return *(*F)(unsafe.Pointer(&struct{ uintptr }{pointer})) }

func sealedAt(file uintptr) *sealedFile {
	return at[sealedFile](at[sqlite3.Tsqlite3_file](file).FpMethods)
}

func (s *sealedFile) ownMethods() *sqlite3.Tsqlite3_io_methods {
	return at[sqlite3.Tsqlite3_io_methods](s.own)
}

// openFile opens a file as SQLite does. Of a database or a log it reads and writes
// itself, and maps nothing into memory.
func openFile(tls *libc.TLS, self, name, file uintptr, flags int32, out uintptr) int32 {
	own := at[vfs](self).own
	rc := function[openFunc](at[sqlite3.Tsqlite3_vfs](own).FxOpen)(tls, own, name, file, flags, out)
	f := at[sqlite3.Tsqlite3_file](file)
	if rc != sqlite3.SQLITE_OK || f.FpMethods == 0 || flags&(sqlite3.SQLITE_OPEN_MAIN_DB|sqlite3.SQLITE_OPEN_WAL) == 0 {
		return rc
	}
	p := file + behind(own)
	s, read, write, lock := at[sealedFile](p), readFunc(readFile), writeFunc(writeFile), lockFunc(lockIndex)
	*s = sealedFile{Tsqlite3_io_methods: *at[sqlite3.Tsqlite3_io_methods](f.FpMethods), own: f.FpMethods, kind: fileLog, from: math.MaxInt64}
	s.FiVersion, s.FxRead, s.FxWrite, s.FxShmLock = min(s.FiVersion, 2), pointerTo(&read), pointerTo(&write), pointerTo(&lock)
	if flags&sqlite3.SQLITE_OPEN_MAIN_DB != 0 {
		unmap, ask := unmapFunc(unmapIndex), askFunc(askFile)
		s.FxShmUnmap, s.FxFileControl = pointerTo(&unmap), pointerTo(&ask)
		s.kind = kindOfFile(tls, s, file)
		s.holds = sqlite3.Xsqlite3_uri_parameter(tls, name, at[vfs](self).holds) != 0
	}
	f.FpMethods = p
	return rc
}

func kindOfFile(tls *libc.TLS, s *sealedFile, file uintptr) fileKind {
	h := tls.Alloc(headerSize)
	defer tls.Free(headerSize)
	rc := function[readFunc](s.ownMethods().FxRead)(tls, file, h, headerSize, 0)
	if rc == sqlite3.SQLITE_OK && bytesAt(h, headerSize)[reservedAt] == sealBytes {
		return fileSealed
	}
	return filePlain
}

// readFile reads, and fails with SQLITE_IOERR_DATA when a page is not as it was
// written.
func readFile(tls *libc.TLS, file, buf uintptr, n int32, pos int64) int32 {
	s := sealedAt(file)
	read := function[readFunc](s.ownMethods().FxRead)
	rc := read(tls, file, buf, n, pos)
	if n != pageSize || rc != sqlite3.SQLITE_OK && rc != sqlite3.SQLITE_IOERR_SHORT_READ {
		return rc
	}
	page := bytesAt(buf, n)
	switch {
	case s.kind == fileSealed && goodSeal(page, numberOf(pos)):
		putSeal(page, 0)
	case s.kind == fileSealed && !(s.writing && empty(page)),
		s.kind == fileLog && pos < s.from && (rc != sqlite3.SQLITE_OK || !goodFrame(tls, read, file, page, pos)):
		return sqlite3.SQLITE_IOERR_DATA
	}
	return rc
}

// empty tells of a page that was never written, as SQLite saves itself that for
// one that it uses and frees again in the same transaction. It reads such a page
// when it takes it a second time.
func empty(page []byte) bool {
	for _, b := range page {
		if b != 0 {
			return false
		}
	}
	return true
}

// The locks of SQLite's wal-index: WAL_WRITE_LOCK, and WAL_CKPT_LOCK, behind which
// is that of the recovery, for which SQLite takes both.
const (
	writeLock      = 0
	checkpointLock = 1
)

// lockIndex sees whether the connection is the one that writes, and keeps the lock
// for checkpoints.
func lockIndex(tls *libc.TLS, file uintptr, first, n, flags int32) int32 {
	s := sealedAt(file)
	own := function[lockFunc](s.ownMethods().FxShmLock)
	if s.holding && first == checkpointLock {
		if first, n = first+1, n-1; n == 0 {
			return sqlite3.SQLITE_OK
		}
	}
	rc := own(tls, file, first, n, flags)
	if rc != sqlite3.SQLITE_OK {
		return rc
	}
	lock := flags&sqlite3.SQLITE_SHM_LOCK != 0
	if first == writeLock {
		s.writing = lock
	}
	if s.holds && !s.holding {
		s.holding = first == checkpointLock && lock ||
			own(tls, file, checkpointLock, 1, sqlite3.SQLITE_SHM_LOCK|sqlite3.SQLITE_SHM_EXCLUSIVE) == sqlite3.SQLITE_OK
	}
	return rc
}

// unmapIndex gives the lock for checkpoints back: SQLite would not.
func unmapIndex(tls *libc.TLS, file uintptr, remove int32) int32 {
	s := sealedAt(file)
	if s.holding {
		s.holds, s.holding = false, false
		function[lockFunc](s.ownMethods().FxShmLock)(tls, file, checkpointLock, 1, sqlite3.SQLITE_SHM_UNLOCK|sqlite3.SQLITE_SHM_EXCLUSIVE)
	}
	return function[unmapFunc](s.ownMethods().FxShmUnmap)(tls, file, remove)
}

// askFile answers whether the last connection that is closed leaves the log where
// it is. SQLite deletes it by its name, which is somebody else's when the database
// is not at its path any more.
func askFile(tls *libc.TLS, file uintptr, what int32, about uintptr) int32 {
	own := function[askFunc](sealedAt(file).ownMethods().FxFileControl)
	rc := own(tls, file, what, about)
	if what != sqlite3.SQLITE_FCNTL_PERSIST_WAL {
		return rc
	}
	moved := tls.Alloc(4)
	defer tls.Free(4)
	if own(tls, file, sqlite3.SQLITE_FCNTL_HAS_MOVED, moved) == sqlite3.SQLITE_OK && *at[int32](moved) != 0 {
		*at[int32](about) = 1
	}
	return rc
}

// numberOf is the number of the page at pos.
func numberOf(pos int64) uint32 { return uint32(pos/pageSize) + 1 } //nolint:gosec // SQLite has no more pages

// goodFrame tells whether a page in a log fits the sum in the frame's head.
func goodFrame(tls *libc.TLS, read readFunc, file uintptr, page []byte, pos int64) bool {
	const n = frameHead + sumSize
	p := tls.Alloc(n)
	defer tls.Free(n)
	head := pos - frameHead
	if read(tls, file, p, frameHead, head) != sqlite3.SQLITE_OK || read(tls, file, p+frameHead, sumSize, sumBefore(head)) != sqlite3.SQLITE_OK {
		return false
	}
	b := bytesAt(p, n)
	before, is := storedSum(b[frameHead:]), storedSum(b[frameHead-sumSize:])
	return frameSum(before, b, page, binary.LittleEndian) == is || frameSum(before, b, page, binary.BigEndian) == is
}

// writeFile puts the seal on the pages of a database.
func writeFile(tls *libc.TLS, file, buf uintptr, n int32, pos int64) int32 {
	s := sealedAt(file)
	write := function[writeFunc](s.ownMethods().FxWrite)
	if s.kind == fileLog {
		if n == frameHead {
			s.noteFrame(bytesAt(buf, n), pos)
		}
		return write(tls, file, buf, n, pos)
	}
	if s.kind != fileSealed || n != pageSize || pos%pageSize != 0 {
		return write(tls, file, buf, n, pos)
	}
	page := bytesAt(buf, n)
	putSeal(page, sealOf(page, numberOf(pos)))
	defer putSeal(page, 0) // or it would get into the log
	return write(tls, file, buf, n, pos)
}

// noteFrame sees where in a log a transaction begins, and that it is committed.
func (s *sealedFile) noteFrame(head []byte, pos int64) {
	s.from = min(s.from, pos)
	if committed(head) {
		s.from = math.MaxInt64
	}
}
