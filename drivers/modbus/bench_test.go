package modbus_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/drivers/modbus"
)

// serveEnv makes the test binary a Modbus server in a process of its own, so that
// benchmarks measure the client.
const serveEnv = "FIELDLOOM_TEST_MODBUS_SERVER"

func TestMain(m *testing.M) {
	if os.Getenv(serveEnv) != "" {
		if err := serveRegisters(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// serveRegisters answers reads of holding registers until its standard input ends.
func serveRegisters() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go answerReads(conn)
		}
	}()
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// answerReads answers all requests of one read from the connection by one write.
func answerReads(conn net.Conn) {
	in, out := make([]byte, 4096), make([]byte, 0, 65536)
	for have := 0; ; {
		n, err := conn.Read(in[have:])
		if err != nil {
			return
		}
		have += n
		out = out[:0]
		at := 0
		for ; have-at >= 12; at += 12 {
			size := 2 * int(binary.BigEndian.Uint16(in[at+10:]))
			out = append(out, in[at:at+4]...)
			out = binary.BigEndian.AppendUint16(out, uint16(3+size))
			out = append(out, in[at+6], 3, byte(size))
			out = append(out, make([]byte, size)...)
		}
		have = copy(in, in[at:have])
		if _, err := conn.Write(out); err != nil {
			return
		}
	}
}

// startServer starts the server process and returns its address.
func startServer(t testing.TB) string {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), serveEnv+"=1")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	var address string
	if _, err := fmt.Fscanln(stdout, &address); err != nil {
		t.Fatal(err)
	}
	return address
}

// A bareLoop is the limit: a Go loop that does nothing but write a request of 100
// registers and read its answer.
type bareLoop struct {
	conn            net.Conn
	request, answer []byte
}

func dialBareLoop(b *testing.B, address string) *bareLoop {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close() })
	return &bareLoop{conn, []byte{0, 1, 0, 0, 0, 6, 1, 3, 0, 0, 0, 100}, make([]byte, 209)}
}

func (l *bareLoop) run(b *testing.B, n int) {
	for range n {
		if _, err := l.conn.Write(l.request); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(l.conn, l.answer); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkBareLoop(b *testing.B) {
	bare := dialBareLoop(b, startServer(b))
	b.ReportAllocs()
	for b.Loop() {
		bare.run(b, 1)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
}

// BenchmarkFlatOut polls blocks of 100 registers, as many at once as the window
// takes, and decodes every register.
func BenchmarkFlatOut(b *testing.B) {
	for _, window := range []int{1, 8} {
		b.Run(fmt.Sprintf("window=%d", window), func(b *testing.B) {
			device := openFlatOut(b, startServer(b), window)
			b.ReportAllocs()
			for b.Loop() {
				device.run(b, 1)
			}
			b.ReportMetric(float64(b.N*window)/b.Elapsed().Seconds(), "requests/s")
		})
	}
}

// BenchmarkAgainstBareLoop takes turns with the bare loop, so that what else the
// machine does hits both, and reports the ratio of their requests a second.
func BenchmarkAgainstBareLoop(b *testing.B) {
	for _, window := range []int{1, 8} {
		b.Run(fmt.Sprintf("window=%d", window), func(b *testing.B) {
			address := startServer(b)
			device, bare := openFlatOut(b, address, window), dialBareLoop(b, address)
			const turn = 64
			var ours, limit time.Duration
			for b.Loop() {
				start := time.Now()
				device.run(b, turn/window)
				middle := time.Now()
				bare.run(b, turn)
				ours, limit = ours+middle.Sub(start), limit+time.Since(middle)
			}
			b.ReportMetric(limit.Seconds()/ours.Seconds(), "ratio")
		})
	}
}

// A flatOut is a device with as many blocks of 100 registers as the window has
// room for.
type flatOut struct {
	reader driver.Reader
	out    []driver.Sample
}

func openFlatOut(b *testing.B, address string, window int) *flatOut {
	settings := fmt.Sprintf(`{"url":"tcp://%s","window":%d}`, address, window)
	link, err := modbus.New().Open(b.Context(), driver.LinkConfig{
		Name: "line", Timeout: time.Second, Settings: json.RawMessage(settings),
	}, driver.Env{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = link.Close(context.Background()) })
	var points []driver.Point
	for i := range 100 * window {
		points = append(points, driver.Point{Index: i, Address: fmt.Sprintf("holding:%d", i/100*200+i%100)})
	}
	device, err := link.Device(b.Context(), driver.DeviceConfig{Points: points})
	if err != nil {
		b.Fatal(err)
	}
	reader, err := device.(driver.Preparer).Prepare(points)
	if err != nil {
		b.Fatal(err)
	}
	return &flatOut{reader, make([]driver.Sample, len(points))}
}

func (f *flatOut) run(b *testing.B, polls int) {
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute) // as an engine does
	defer cancel()
	for range polls {
		clear(f.out)
		if err := f.reader.Read(ctx, nil, f.out); err != nil {
			b.Fatal(err)
		}
	}
	for i := range f.out {
		if f.out[i].Quality != driver.Good {
			b.Fatalf("point %d: %v", i, f.out[i].Fault)
		}
	}
}
