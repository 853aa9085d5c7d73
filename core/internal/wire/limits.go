package wire

import (
	"bytes"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
)

// WholeLines returns b without the rest of a line at its beginning.
func WholeLines(b []byte) []byte {
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		return b[i+1:]
	}
	return b
}

const (
	// Window is what HTTP/2 may have in flight on one stream. Credit bounds telemetry to less,
	// so that flow control never holds up the stream, and a fixed size spares the probing for a
	// better one.
	Window = 8 << 20
	// WriteBuffer is what one system call moves at most, in bytes. A larger one only makes TLS
	// records wait for each other.
	WriteBuffer = 64 << 10
	// ReadBuffer is the same for reading.
	ReadBuffer = 64 << 10
)

const (
	maxKeyBytes = 256 // of a key of the store, of a secret's name
	// MaxValue bounds a value that a driver has the core store, in bytes.
	MaxValue = 64 << 10
)

// CheckKey returns an error where key cannot be one of the store.
func CheckKey(key string) error {
	if key == "" || len(key) > maxKeyBytes {
		return driver.Errorf(driver.BadValue, "store key of %d bytes: 1 to %d are allowed", len(key), maxKeyBytes)
	}
	return nil
}

// CheckSecret returns an error where name cannot be that of a secret.
func CheckSecret(name string) error {
	if name == "" || len(name) > maxKeyBytes {
		return driver.Errorf(driver.BadValue, "name of a secret of %d bytes: 1 to %d are allowed", len(name), maxKeyBytes)
	}
	return nil
}

const (
	// HeartbeatEvery is how often each side of an attachment says that it is there.
	HeartbeatEvery = time.Second
	// SilenceLimit ends an attachment whose other side has said nothing.
	SilenceLimit = 5 * time.Second
)
