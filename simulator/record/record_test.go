package record_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/fieldloom/fieldloom/simulator/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestTextOfARecording(t *testing.T) {
	r := &record.Recording{Of: "192.0.2.17:502", Form: record.MBAP, Steps: []record.Step{
		{At: 0, Conn: 1, Sent: true, Data: []byte("W\r")}, {At: 1500 * time.Microsecond, Conn: 1, Data: []byte{2, 0xFF, '1'}},
	}}
	var text bytes.Buffer
	check(t, r.Write(&text))
	want := "fieldloom recording 1\nof: 192.0.2.17:502\nform: mbap\n0.000000 1 > 570d  # W.\n0.001500 1 < 02ff31  # ..1\n"
	if diff := cmp.Diff(want, text.String()); diff != "" {
		t.Error(diff)
	}
	again, err := record.Read(&text)
	check(t, err)
	if diff := cmp.Diff(r, again); diff != "" {
		t.Error(diff)
	}
}

func TestRecordingsThatAreDamaged(t *testing.T) {
	const good = "fieldloom recording 1\nof: x\nform: raw\n1.0 1 > 57\n"
	for text, want := range map[string]string{
		"":                        "line 1: it is no recording",
		good + "0.5 1 < 57\n":     "line 5: it is 500ms after the beginning, and the step before it 1s",
		good + "2 1 57\n":         "line 5: \"2 1 57\" is no step",
		good + "2 0 < 57\n":       "is no number of a connection",
		good + "x 1 < 57\n":       "is no time in seconds",
		good + "2 1 < 5\n":        "are no bytes in hexadecimal",
		good + "form: other\n":    "is not raw or mbap",
		good + "wherever: here\n": "\"wherever\" is unknown",
	} {
		if _, err := record.Read(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// What a device said is recorded, and played back: with its pieces and their times, and under the
// transaction id of who asks.
func TestRecordAndPlayBack(t *testing.T) {
	device, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	served := make(chan struct{})
	go func() {
		defer close(served)
		c, err := device.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		var b [12]byte
		for n := byte(0); ; n++ {
			if _, err := io.ReadFull(c, b[:]); err != nil {
				return
			}
			_, _ = c.Write([]byte{b[0], b[1], 0, 0, 0, 5, 1, 3})
			time.Sleep(10 * time.Millisecond)
			_, _ = c.Write([]byte{2, 0, n})
		}
	}()
	front, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	var text bytes.Buffer
	r := &record.Recorder{Of: "device", Form: record.MBAP, To: &text, Dial: func(ctx context.Context) (io.ReadWriteCloser, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", device.Addr().String())
	}}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Serve(ctx, front) }()
	c, err := net.Dial("tcp", front.Addr().String())
	check(t, err)
	for n := range byte(3) {
		if got := ask(t, c, 7, n); got != n {
			t.Errorf("answer %d through the recorder is %d", n, got)
		}
	}
	check(t, c.Close())
	cancel()
	check(t, <-ended)
	check(t, device.Close())
	<-served

	recording, err := record.Read(&text)
	check(t, err)
	p := record.NewPlayer(recording)
	near, far := net.Pipe()
	playing := make(chan struct{})
	go func() { defer close(playing); p.Serve(t.Context(), far) }()
	for _, want := range []byte{0, 1, 2, 2} { // the last again and again
		if got := ask(t, near, 200, want); got != want {
			t.Errorf("played %d, want %d", got, want)
		}
	}
	_, err = near.Write([]byte{0, 1, 0, 0, 0, 6, 9, 3, 0, 0, 0, 1}) // another unit
	check(t, err)
	check(t, near.Close())
	<-playing
	if played, strays, left := p.Counts(); played != 4 || strays != 1 || left != 0 {
		t.Errorf("%d played, %d strays, %d left", played, strays, left)
	}
}

// ask reads a register under a transaction id, which the answer must have too.
func ask(t *testing.T, c net.Conn, id, _ byte) byte {
	t.Helper()
	check(t, c.SetDeadline(time.Now().Add(10*time.Second)))
	_, err := c.Write([]byte{0, id, 0, 0, 0, 6, 1, 3, 0, 0, 0, 1})
	check(t, err)
	var b [11]byte
	_, err = io.ReadFull(c, b[:])
	check(t, err)
	if b[1] != id {
		t.Errorf("the answer to %d is under %d", id, b[1])
	}
	return b[10]
}

// A recording without a form plays requests of any length, and what came unasked first.
func TestRawPlayback(t *testing.T) {
	p := record.NewPlayer(&record.Recording{Form: record.Raw, Steps: []record.Step{
		{Conn: 1, Data: []byte("hello\n")},
		{At: 1, Conn: 1, Sent: true, Data: []byte("V")}, {At: 2, Conn: 1, Sent: true, Data: []byte("?")}, {At: 3, Conn: 1, Data: []byte("V=1\n")},
		{At: 4, Conn: 1, Sent: true, Data: []byte("V")}, {At: 5, Conn: 1, Data: []byte("short\n")},
		{At: 6, Conn: 1, Sent: true, Data: []byte("never")}, {At: 7, Conn: 1, Data: []byte("x")},
	}})
	near, far := net.Pipe()
	playing := make(chan struct{})
	go func() { defer close(playing); p.Serve(t.Context(), far) }()
	check(t, near.SetDeadline(time.Now().Add(10*time.Second)))
	expect := func(want string) {
		t.Helper()
		b := make([]byte, len(want))
		if _, err := io.ReadFull(near, b); err != nil || string(b) != want {
			t.Errorf("%q, %v, want %q", b, err, want)
		}
	}
	expect("hello\n")
	_, err := near.Write([]byte("V?"))
	check(t, err)
	expect("V=1\n")
	check(t, near.Close())
	<-playing
	if _, _, left := p.Counts(); left != 2 {
		t.Errorf("%d requests left over, want 2", left)
	}
}

// FuzzRead checks that whatever a file holds is refused or read as it is written again.
func FuzzRead(f *testing.F) {
	f.Add("fieldloom recording 1\nof: x\nform: raw\n1.0 1 > 57  # W\n")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := record.Read(strings.NewReader(text))
		if err != nil {
			return
		}
		record.NewPlayer(r)
		var again bytes.Buffer
		check(t, r.Write(&again))
		back, err := record.Read(&again)
		if err != nil || len(back.Steps) != len(r.Steps) {
			t.Fatalf("written again it is %q: %v", again.String(), err)
		}
	})
}
