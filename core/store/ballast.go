package store

import (
	"crypto/rand"
	"errors"
	"io"
	"os"
	"syscall"
)

const (
	// ballastBytes lie beside the database: on a full disk not even DELETE or a
	// checkpoint works, so this makes room for them.
	ballastBytes = 256 << 10
	// roomToResume has to be there before writing goes on after a full disk, or it
	// would be full again at once.
	roomToResume = 4 * ballastBytes
)

func ballastPath(path string) string { return path + ".ballast" }

// makeBallast makes the file if it is not there; noRoom tells of the
// error that the disk has not enough for that and some results.
func makeBallast(path string) error {
	name := ballastPath(path)
	if info, err := os.Stat(name); err == nil && info.Size() == ballastBytes {
		return nil
	}
	part := name + ".part"
	f, err := os.OpenFile(part, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	// Random, or a file system that compresses would keep nothing free.
	if _, err = io.CopyN(f, rand.Reader, roomToResume); err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Truncate(ballastBytes), f.Close())
	if err != nil {
		return errors.Join(err, os.Remove(part))
	}
	return os.Rename(part, name)
}

// dropBallast tells whether that has made room.
func dropBallast(path string) bool { return os.Remove(ballastPath(path)) == nil }

// noRoom tells that an error means a full disk, or a used up quota.
func noRoom(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || faultOf(err) == faultFull
}
