package host_test

import (
	"bytes"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/fieldloom/fieldloom/core/internal/host"
)

// FuzzPump feeds the reader of a driver's standard error.
func FuzzPump(f *testing.F) {
	for _, line := range []string{
		`{"@message":1}`, `{"msg":"x","level":"WARN","a":1,"b":[[[]]],"driver":"forged"}`, "plain\r\n\n\x00\xff",
		`{"@message":"x","@level":"error","@timestamp":"2024-01-02T03:04:05Z"}`, `{"msg":null}`, `{`, `{"msg":"x","a":null}`,
		"panic: runtime error\n\ngoroutine 1 [running]:\n",
	} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var out bytes.Buffer
		lines := host.PumpLines(slog.New(slog.NewJSONHandler(&out, nil)), bytes.NewReader(data), 3)
		if len(lines) > 3 {
			t.Fatalf("%d lines kept", len(lines))
		}
		for _, line := range lines {
			if len(line) > 3*4096 {
				t.Fatalf("a line of %d bytes was kept", len(line))
			}
		}
	})
}

func FuzzHandshake(f *testing.F) {
	f.Add("1|1|unix|/tmp/x|grpc|")
	f.Add("1|1|tcp|127.0.0.1:1|grpc|MIIB")
	f.Fuzz(func(_ *testing.T, line string) { _ = host.ParseHandshake(line) })
}

// FuzzFollow does to the file of a process's lines what the process can do to it: write,
// shorten it, lengthen it. What is only written is read or told of as lost.
func FuzzFollow(f *testing.F) {
	f.Add([]byte{0, 3, 0, 9, 1, 0, 0, 3})
	f.Add([]byte{0, 255, 2, 255, 1, 7, 0, 1, 2, 3, 1, 0})
	ended := make(chan struct{})
	close(ended) // so that no Read waits
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 64 {
			return
		}
		file, err := os.OpenFile(filepath.Join(t.TempDir(), "stderr"), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		var written, seen, size int64
		follower := host.NewFollower(file, make(chan struct{}), ended, func(bytes int64) { seen += bytes })
		plain := true // nothing but written to
		for ; len(data) > 1; data = data[2:] {
			n := int64(data[1]) << 10
			switch data[0] % 3 {
			case 0:
				_, err = file.Write(bytes.Repeat([]byte("a line\n0"), int(n)/8))
				size, written = size+n, written+n
			case 1:
				size, plain = min(size, n), false
				err = file.Truncate(size)
			case 2:
				size, plain = size+n<<6, false
				err = file.Truncate(size)
			}
			if err != nil {
				t.Fatal(err)
			}
			read, err := io.Copy(io.Discard, follower)
			if err != nil || read > size {
				t.Fatalf("read %d bytes of %d: %v", read, size, err)
			}
			if seen += read; plain && seen != written {
				t.Fatalf("%d bytes read or lost, %d written", seen, written)
			}
		}
	})
}
