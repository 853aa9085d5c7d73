package pack_test

import (
	"crypto/sha256"
	"path/filepath"
	"testing"

	"github.com/fieldloom/fieldloom/core/pack"
)

// BenchmarkOpen is the cost of a verification: once a package, not once a start. It
// copies and hashes 20 MB, the size of a driver, and hashes the copy; BenchmarkHash is
// the limit, hashing them once.
func BenchmarkOpen(b *testing.B) {
	by, dir := newPair(b), b.TempDir()
	at := assembled(b, dir, draft)
	programs, err := filepath.Glob(filepath.Join(at, "*", "driver-acme"))
	if err != nil || len(programs) != 1 {
		b.Fatal(programs, err)
	}
	write(b, programs[0], string(make([]byte, driverSize)), 0o755)
	if err := pack.Sign(at, by.private, nil); err != nil {
		b.Fatal(err)
	}
	trust := by.trust(b, "*")
	b.SetBytes(driverSize)
	for b.Loop() {
		if _, err := pack.Open(at, trust); err != nil {
			b.Fatal(err)
		}
	}
}

const driverSize = 20 << 20

func BenchmarkHash(b *testing.B) {
	text := make([]byte, driverSize)
	b.SetBytes(driverSize)
	for b.Loop() {
		sha256.Sum256(text)
	}
}
