package spool_test

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/core/internal/spool"
)

// A batch of the benchmarks is 1,000 points, a group five batches: what a gateway
// with 100 batches a second commits 20 times a second.
const benchGroup = 5

func benchData(size int) []byte {
	b := make([]byte, size)
	r := rand.New(rand.NewPCG(1, uint64(size)))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// bareLog is the limit: a file, a checksum, one write and one sync a group.
type bareLog struct {
	f   *os.File
	buf []byte
	off int64
}

func (l *bareLog) group(data []byte) error {
	l.buf = l.buf[:0]
	for range benchGroup {
		l.buf = binary.LittleEndian.AppendUint32(l.buf, uint32(len(data)))
		l.buf = binary.LittleEndian.AppendUint32(l.buf, crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli)))
		l.buf = append(l.buf, data...)
	}
	if _, err := l.f.WriteAt(l.buf, l.off); err != nil {
		return err
	}
	l.off += int64(len(l.buf))
	return syscall.Fdatasync(int(l.f.Fd()))
}

// processorTime is what this process has used, in seconds.
func processorTime() float64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

// measure runs group b.N times, at a pace when there is one, and reports the CPU
// seconds of a million points.
func measure(b *testing.B, pace time.Duration, size int, group func() error) {
	b.SetBytes(int64(benchGroup * size))
	var tick <-chan time.Time
	if pace > 0 {
		t := time.NewTicker(pace)
		defer t.Stop()
		tick = t.C
	}
	b.ResetTimer()
	before := processorTime()
	for range b.N {
		if tick != nil {
			<-tick
		}
		if group == nil {
			continue
		}
		if err := group(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric((processorTime()-before)/float64(b.N*benchGroup)*1000, "cpu-s/Mpoint")
	b.ReportMetric(float64(b.N*benchGroup)/b.Elapsed().Seconds(), "batches/s")
}

func BenchmarkCommit(b *testing.B) {
	for _, pace := range []time.Duration{0, 50 * time.Millisecond} {
		for _, size := range []int{2000, 10000} {
			data := benchData(size)
			name := fmt.Sprintf("pace=%v/bytes=%d", pace, size)
			if pace > 0 {
				b.Run(name+"/nothing", func(b *testing.B) { measure(b, pace, size, nil) })
			}
			b.Run(name+"/bare", func(b *testing.B) {
				f, err := os.Create(filepath.Join(b.TempDir(), "log"))
				if err != nil {
					b.Fatal(err)
				}
				defer f.Close()
				l := &bareLog{f: f}
				measure(b, pace, size, func() error { return l.group(data) })
			})
			b.Run(name+"/spool", func(b *testing.B) {
				s := open(b, b.TempDir(), spool.Options{})
				var n uint64
				var wait sync.WaitGroup
				stored := func(err error) {
					if err != nil {
						b.Error(err)
					}
					wait.Done()
				}
				measure(b, pace, size, func() error {
					wait.Add(benchGroup)
					for range benchGroup {
						n++
						s.Append(spool.Record{Driver: "modbus", Epoch: 1, Sequence: n, Data: data}, stored)
					}
					if pace == 0 && n%(64*benchGroup) == 0 {
						wait.Wait() // flat out, many groups wait for one sync
					}
					return nil
				})
				wait.Wait()
			})
		}
	}
}

func BenchmarkRead(b *testing.B) {
	s := open(b, b.TempDir(), spool.Options{})
	data := benchData(10000)
	for n := range uint64(2000) {
		s.Append(spool.Record{Driver: "modbus", Epoch: 1, Sequence: n + 1, Data: data}, nil)
	}
	if err := s.Wait(b.Context(), 2000); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	r := s.Read(0)
	for b.Loop() {
		if _, _, err := r.Next(); err != nil {
			r = s.Read(0)
		}
	}
}
