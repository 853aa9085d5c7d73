package carrier

import (
	"bytes"
	"testing"
)

// FuzzTelnet checks that what is escaped comes out as it went in, wherever the reads fall and
// whatever commands stand between, and that what is kept is bounded.
func FuzzTelnet(f *testing.F) {
	f.Add([]byte("abc\xff\xfe"), []byte{0, 1, 2}, 3)
	f.Fuzz(func(t *testing.T, data, foreign []byte, piece int) {
		d := telnetDecoder{told: func(byte, byte) {}, ended: func([]byte) {}}
		stream := escape([]byte{telnetIAC, telnetSB, optionPort, 101, 0, telnetIAC, telnetSE}, data)
		stream = append(stream, telnetIAC, telnetDo, optionBinary)
		var got []byte
		for len(stream) > 0 {
			n := min(max(piece, 1), len(stream))
			b := bytes.Clone(stream[:n])
			got = append(got, b[:d.decode(b)]...)
			stream = stream[n:]
		}
		if !bytes.Equal(got, data) {
			t.Fatalf("% x came out as % x", data, got)
		}
		d.decode(bytes.Clone(foreign)) // must not fail
		if len(d.sub) > maxSubnegotiation {
			t.Fatalf("keeps %d bytes", len(d.sub))
		}
	})
}
