package modbus_test

import (
	"testing"

	"github.com/fieldloom/fieldloom/simulator/internal/modbus"
)

// FuzzServe feeds a connection's bytes to the decoder and what it finds to a device. Nothing panics, a frame never takes more bytes than there are, and no
// answer is longer than a frame may be, or answers another function.
func FuzzServe(f *testing.F) {
	for _, s := range []string{
		"0001 0000 0006 01 03 0000 0064", "0001 0000 0006 01 03 0000 0064 0002 0000 0006 01 01 0013 0013",
		"0001 0000 000f 01 10 0001 0002 04 000a 0102", "0001 0000 0008 01 16 0004 00f2 0025",
		"0001 0000 0011 01 17 0003 0006 000e 0003 06 00ff 00ff 00ff", "0001 0001 0002 01 07", "ffff 0000 ffff 01", "0000 0000 0000 00",
	} {
		f.Add(bytesOf(f, s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		m := specified(t)
		for used := 0; used < len(in); {
			frame, n, err := modbus.Next(in[used:])
			if err != nil || n == 0 {
				return
			}
			if n < 8 || n > modbus.MaxFrame || used+n > len(in) {
				t.Fatalf("a frame of %d bytes where %d are left", n, len(in)-used)
			}
			used += n
			answer, res := m.Serve(nil, frame.PDU, modbus.Instant{Slot: 1}, 0)
			if len(answer) < 2 || len(answer) > modbus.MaxFrame-7 {
				t.Fatalf("an answer of %d bytes to % x", len(answer), frame.PDU)
			}
			if answer[0]&0x7f != frame.PDU[0]&0x7f {
				t.Fatalf("function %d answers %d", answer[0], frame.PDU[0])
			}
			if res.Exception != 0 && (len(answer) != 2 || res.Written || res.Slot) {
				t.Fatalf("an exception with more to it: %+v", res)
			}
		}
	})
}
