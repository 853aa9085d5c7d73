package plugin_test

import (
	"bufio"
	"encoding/binary"
	"io"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/internal/host"
	"github.com/fieldloom/fieldloom/core/internal/wire"
	"github.com/fieldloom/fieldloom/core/plugin"
)

// saturate is a driver that has frames of 100 points without end.
func saturate(string) {
	plugin.ServeBackend(func(in plugin.Inside) plugin.Backend {
		b := newFake(in)
		b.Ring = newFakeRing(0)
		return b
	})
}

// bare writes the same frames, each behind its length, to a Unix socket: the limit.
// Gathered, 64 KiB are one write; else every frame is.
func bare(address string) {
	address, gathered := strings.CutPrefix(address, "gathered:")
	conn, err := net.Dial("unix", address)
	if err != nil {
		panic(err)
	}
	to := bufio.NewWriterSize(conn, 64<<10)
	ring := newFakeRing(0)
	var length [4]byte
	for {
		f, _ := ring.TryNext()
		binary.LittleEndian.PutUint32(length[:], uint32(len(f.Data)))
		_, _ = to.Write(length[:])
		_, err := to.Write(f.Data)
		if err == nil && !gathered {
			err = to.Flush()
		}
		if err != nil {
			return
		}
		ring.Ack(f.Sequence)
	}
}

// cpuOf is the processor time that a process has used.
func cpuOf(b *testing.B, pid int) time.Duration {
	b.Helper()
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|2), &t); err != nil { // see clock_getcpuclockid(3)
		b.Fatal(err)
	}
	return time.Duration(t.Nano())
}

// meter measures what two processes spend on points.
type meter struct {
	b     *testing.B
	other int
	cpu   time.Duration
	begun time.Time
}

func startMeter(b *testing.B, other int) *meter {
	return &meter{b: b, other: other, begun: time.Now(), cpu: cpuOf(b, os.Getpid()) + cpuOf(b, other)}
}

func (m *meter) report(prefix string, points int) {
	elapsed := time.Since(m.begun)
	cpu := cpuOf(m.b, os.Getpid()) + cpuOf(m.b, m.other) - m.cpu
	m.b.ReportMetric(0, "ns/op")
	m.b.ReportMetric(cpu.Seconds()/float64(points)*1e6, prefix+"cpu-s/Mpoints")
	m.b.ReportMetric(float64(points)/elapsed.Seconds(), prefix+"points/s")
}

// counter acknowledges every frame as it comes, as if it were stored, and reports when it has
// seen enough.
type counter struct {
	a    atomic.Pointer[host.Attachment]
	seen uint64
	warm uint64
	want uint64
	go_  chan struct{}
	done chan struct{}
}

// everything takes every frame, and costs what a check of a driver's frames does.
var everything = wire.Bounds{Earliest: math.MinInt64, Latest: math.MaxInt64, Handles: allHandles{}}

// allHandles has every handle for ever.
type allHandles struct{}

// Until implements wire.Handles.
func (allHandles) Until(uint32, uint64) (int64, bool) { return math.MaxInt64, true }

func (c *counter) Frame(seq uint64, frame []byte) {
	if _, err := wire.Inspect(frame, everything); err != nil {
		panic(err)
	}
	if a := c.a.Load(); a != nil {
		a.Ack(seq)
	}
	switch c.seen++; c.seen {
	case c.warm:
		close(c.go_)
	case c.warm + c.want:
		close(c.done)
	}
}

func (c *counter) Event(control.Event) {}
func (c *counter) Heartbeat(uint64)    {}

const warmFrames = 5000

// boundary sends b.N frames of a driver process and reports what they cost.
func boundary(b *testing.B, prefix string, plain bool) {
	cmd := command("saturate")
	cmd.Plain = plain
	p := launch(b, cmd)
	c := &counter{warm: warmFrames, want: uint64(b.N), go_: make(chan struct{}), done: make(chan struct{})}
	a, err := p.Attach(b.Context(), host.Hello{CoreEpoch: 1}, c)
	if err != nil {
		b.Fatal(err)
	}
	c.a.Store(a)
	a.Ack(1) // what came before the handler could
	<-c.go_
	m := startMeter(b, p.PID())
	<-c.done
	m.report(prefix, b.N*batchPoints)
	if err := a.Close(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkBoundary sends batches of 100 points, each a frame with its sequence and
// acknowledged, from a driver process to this one over mutual TLS, and then the
// same frames over a bare Unix socket, a write each (the metrics bare-). An operation
// is a frame. The processor time is that of both processes.
func BenchmarkBoundary(b *testing.B) {
	boundary(b, "", false)
	bareSocket(b, "bare-", "bare:")
}

// BenchmarkBoundaryPlain leaves out TLS; its limit is a socket to which 64 KiB are
// written at a time, which no protocol with messages reaches.
func BenchmarkBoundaryPlain(b *testing.B) {
	boundary(b, "", true)
	bareSocket(b, "gathered-", "bare:gathered:")
}

// bareSocket sends b.N frames as bytes.
func bareSocket(b *testing.B, prefix, mode string) {
	address := filepath.Join(b.TempDir(), "s")
	listener, err := net.Listen("unix", address)
	if err != nil {
		b.Fatal(err)
	}
	defer listener.Close()
	writer := exec.Command(os.Args[0])
	writer.Env = []string{envMode + "=" + mode + address}
	if err := writer.Start(); err != nil {
		b.Fatal(err)
	}
	defer func() { _ = writer.Process.Kill(); _ = writer.Wait() }()
	conn, err := listener.Accept()
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	from := bufio.NewReaderSize(conn, 64<<10)
	readFrames(b, from, warmFrames)
	m := startMeter(b, writer.Process.Pid)
	readFrames(b, from, b.N)
	m.report(prefix, b.N*batchPoints)
}

func readFrames(b *testing.B, from io.Reader, n int) {
	var length [4]byte
	for range n {
		if _, err := io.ReadFull(from, length[:]); err != nil {
			b.Fatal(err)
		}
		frame := make([]byte, binary.LittleEndian.Uint32(length[:]))
		if _, err := io.ReadFull(from, frame); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCall is the round trip of a write: on a connection with nothing else on
// it, and on one that telemetry saturates. The quantiles are in microseconds.
func BenchmarkCall(b *testing.B) {
	b.Run("idle", func(b *testing.B) { benchmarkCall(b, launch(b, command("fake"))) })
	b.Run("saturated", func(b *testing.B) {
		p := launch(b, command("saturate"))
		c := &counter{warm: warmFrames, go_: make(chan struct{}), done: make(chan struct{}), want: 1 << 60}
		a, err := p.Attach(b.Context(), host.Hello{CoreEpoch: 1}, c)
		if err != nil {
			b.Fatal(err)
		}
		c.a.Store(a)
		a.Ack(1)
		<-c.go_
		benchmarkCall(b, p)
		if err := a.Close(); err != nil {
			b.Fatal(err)
		}
	})
}

func benchmarkCall(b *testing.B, p *host.Process) {
	var took []time.Duration
	for b.Loop() {
		begun := time.Now()
		if err := p.Write(b.Context(), "l", "d", "p", driver.Int64Value(0)); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(begun))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-us")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-us")
}

// BenchmarkStart is from nothing to a process that has described itself, and back.
func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		p, err := host.Launch(b.Context(), command("fake"))
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := p.Stop(b.Context()); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}
