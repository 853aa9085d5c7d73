package modbus_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/drivers/modbus"
)

// Many devices poll and write over one connection at once; every value is the
// unit's own.
func TestUnitsShareAConnection(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var served sync.WaitGroup
	served.Go(func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		s := newServer()
		s.set(func(adu []byte) [][]byte { // each register holds its unit and its address
			start, n := binary.BigEndian.Uint16(adu[8:]), binary.BigEndian.Uint16(adu[10:])
			if adu[7] != 3 {
				return [][]byte{s.reply(adu)}
			}
			pdu := []byte{3, byte(2 * n)}
			for i := range n {
				pdu = append(pdu, adu[6], byte(start+i))
			}
			return [][]byte{frame(adu, pdu)}
		})
		s.serve(conn)
	})
	link, err := modbus.New().Open(t.Context(), driver.LinkConfig{
		Timeout:  timeout,
		Settings: json.RawMessage(fmt.Sprintf(`{"url":"tcp://%s","window":5}`, l.Addr())),
	}, driver.Env{})
	if err != nil {
		t.Fatal(err)
	}
	if n := link.(driver.Pipeliner).Window(); n != 5 {
		t.Errorf("window %d", n)
	}
	r := &rig{t: t, link: link}
	var polling sync.WaitGroup
	for unit := 1; unit <= 20; unit++ {
		u := r.mustUnit(fmt.Sprintf(`{"unit":%d,"max_block":3}`, unit),
			"holding:1", "holding:2", "holding:3", "holding:4", "holding:5", "holding:100", "holding:200")
		polling.Go(func() { pollOften(t, u, byte(unit)) })
	}
	polling.Wait()
	if err := link.Close(context.Background()); err != nil {
		t.Error(err)
	}
	l.Close()
	served.Wait()
}

func pollOften(t *testing.T, u *unit, id byte) {
	addresses := []byte{1, 2, 3, 4, 5, 100, 200}
	for range 50 {
		out, err := u.poll()
		if err != nil {
			t.Error(err)
			return
		}
		for i, sample := range out {
			if got, want := sample.Value.Uint64(), uint64(id)<<8|uint64(addresses[i]); got != want || sample.Quality != driver.Good {
				t.Errorf("unit %d, holding %d: %#x (%v)", id, addresses[i], got, sample.Fault)
			}
		}
		if err := u.write(0, u64(uint64(id))); err != nil {
			t.Error(err)
		}
	}
}

// Whatever a device sends, a poll ends in time, and a value is Good only when the
// bytes hold the answer to the request.
func FuzzAnswer(f *testing.F) {
	good := []byte{0, 1, 0, 0, 0, 7, 1, 3, 4, 0x12, 0x34, 0x56, 0x78}
	f.Add(good, uint8(0))
	f.Add(good[:9], uint8(3))
	f.Add([]byte{0, 1, 0, 0, 0, 3, 1, 0x83, 2}, uint8(1))
	f.Add(append([]byte{0, 9, 0, 0, 0, 3, 1, 0x83, 2}, good...), uint8(5))
	f.Fuzz(func(t *testing.T, stream []byte, cut uint8) {
		synctest.Test(t, func(t *testing.T) {
			s := newServer()
			first := true
			s.set(func([]byte) [][]byte {
				if !first { // only what was sent before, for what bisecting asks
					return nil
				}
				first = false
				at := min(int(cut), len(stream))
				return [][]byte{stream[:at], stream[at:]}
			})
			u := newRig(t, s, "").mustUnit("", "holding:100:uint32")
			out, err := u.poll()
			want, sent := answerIn(stream, 1)
			if isGood := out[0].Quality == driver.Good; isGood != sent || isGood && out[0].Value.Uint64() != want {
				t.Errorf("% X gives %+v (%v), want %#x: %v", stream, out[0], err, want, sent)
			}
		})
	})
}

// answerIn finds, as the specification has it, the value in the first answer to a
// request for two holding registers of unit 1.
func answerIn(stream []byte, id uint16) (uint64, bool) {
	for len(stream) >= 6 {
		length := int(binary.BigEndian.Uint16(stream[4:]))
		if stream[2] != 0 || stream[3] != 0 || length < 2 || length > 254 || len(stream) < 6+length {
			return 0, false
		}
		body := stream[6 : 6+length]
		if binary.BigEndian.Uint16(stream) != id {
			stream = stream[6+length:]
			continue
		}
		if length != 7 || body[0] != 1 || body[1] != 3 || body[2] != 4 {
			return 0, false
		}
		return uint64(binary.BigEndian.Uint32(body[3:])), true
	}
	return 0, false
}
