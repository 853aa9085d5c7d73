package simulator_test

import (
	"encoding/binary"
	"encoding/hex"
	"io"
	"net"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/fieldloom/fieldloom/simulator"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// dial connects to a server until the test ends.
func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// frame reads bytes written as people write frames: pairs of hexadecimal digits with spaces anywhere.
func frame(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// ask sends a request and reads as many bytes as the answer's header announces.
func ask(t testing.TB, c net.Conn, request string) []byte {
	t.Helper()
	if _, err := c.Write(frame(t, request)); err != nil {
		t.Fatal(err)
	}
	return answer(t, c)
}

func answer(t testing.TB, c net.Conn) []byte {
	t.Helper()
	head := make([]byte, 6)
	if _, err := io.ReadFull(c, head); err != nil {
		t.Fatal(err)
	}
	body := make([]byte, binary.BigEndian.Uint16(head[4:]))
	if _, err := io.ReadFull(c, body); err != nil {
		t.Fatal(err)
	}
	return append(head, body...)
}

const readAll = "0001 0000 0006 01 03 0000 0064"

func slotOf(reply []byte) uint32 { return binary.BigEndian.Uint32(reply[9:]) }

func TestSlotCountsPolls(t *testing.T) {
	for _, layout := range []simulator.Layout{simulator.Ports, simulator.Units} {
		sim := simulator.Start(t, simulator.ModbusFleet(3, 100, layout))
		d := sim.Device("m1")
		c := dial(t, d.Addr())
		for want := uint32(1); want <= 5; want++ {
			if got := slotOf(ask(t, c, readAll)); got != want {
				t.Fatalf("slot %d, want %d", got, want)
			}
		}
		if got := ask(t, c, "0002 0000 0006 01 03 0000 0001"); got[10] != 0 {
			t.Errorf("high half of the slot: % x", got)
		}
		if d.Slot() != 5 {
			t.Errorf("%d polls served, want 5", d.Slot())
		}
		if got := slotOf(ask(t, c, readAll)); got != 6 {
			t.Errorf("slot %d after half of it was read, want 6", got)
		}
		if n := len(d.PollTimes()); n != 6 {
			t.Errorf("%d poll times, want 6", n)
		}
	}
}
