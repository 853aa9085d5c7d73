package mqtt

import (
	"bytes"
	"errors"
	"io"
	"math"
	"net"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"github.com/fieldloom/fieldloom/core/driver"
)

// FuzzAddress checks that whatever parses is something that can be used.
func FuzzAddress(f *testing.F) {
	for _, s := range []string{
		"plant/line1/temp", "plant/+/state bool", `plant/line1 json $.cells[0]["cell voltage"] number optional`,
		"zigbee/lamp $.state text set=zigbee/lamp/set", `"a b" set="c d"`, "$SYS/#", "a $", "a set=", "a $[\"\xff\"]",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := parseAddress(s)
		if err != nil {
			if a != nil || err.Error() == "" {
				t.Fatalf("%q: %v with an error %q", s, a, err)
			}
			return
		}
		if checkFilter(a.filter) != nil || (a.set != "" && (checkTopic(a.set) != nil || !a.path.writable())) {
			t.Fatalf("%q gave %+v", s, a)
		}
		if a.path != nil {
			if again, err := parsePath(a.path.String()); err != nil || again.String() != a.path.String() {
				t.Fatalf("path %s does not parse again: %v", a.path, err)
			}
		}
		var x index
		in := &interest{}
		x.add(a.filter, in)
		topic := strings.NewReplacer("+", "x", "#", "y/z").Replace(a.filter)
		if got := x.match(topic, nil); len(got) != 1 && !strings.HasPrefix(a.filter, "+") {
			t.Fatalf("%q does not match %q", a.filter, topic)
		}
		x.remove(a.filter, in)
		if len(x.exact)+len(x.wild.next) != 0 {
			t.Fatalf("%q leaves something in the index", a.filter)
		}
	})
}

// FuzzPayload checks that a sample is Good with a value that can be stored, or has a fault.
func FuzzPayload(f *testing.F) {
	for _, take := range []string{"", "number", "integer", "bool", "text", "bytes", "$.a", "$.a[0] integer", "$ optional"} {
		for _, p := range []string{"21.5", "", `{"a":1}`, `{"a":[1e400]}`, "\xff", `"x"`, "null", "[[[["} {
			f.Add(take, []byte(p))
		}
	}
	f.Fuzz(func(t *testing.T, take string, content []byte) {
		a, err := parseAddress("t " + take)
		if err != nil {
			return
		}
		s, ok := a.sample(&payload{bytes: content})
		if !ok {
			if !a.optional {
				t.Fatal("no sample, and the point is not optional")
			}
			return
		}
		if (s.Quality == driver.Good) != (s.Fault == nil) || s.Quality == driver.Uncertain {
			t.Fatalf("quality %v with fault %v", s.Quality, s.Fault)
		}
		if !utf8.ValidString(s.Value.Str()) || (s.Fault != nil && !utf8.ValidString(s.Fault.Text)) {
			t.Fatalf("%q is no UTF-8", s.Value.Str())
		}
		if v := s.Value.Float64(); math.IsNaN(v) || math.IsInf(v, 0) {
			t.Fatalf("number %v", v)
		}
		c := clock{path: a.path, format: "us"}
		c.stamp(&s, &payload{bytes: content}, time.Unix(1, 0))
		if s.Time.IsZero() {
			t.Fatal("no time")
		}
	})
}

// FuzzFrames feeds a broker's bytes to the library by way of frameConn: no packet
// may be larger than what is allowed, and none may crash the library's decoder.
func FuzzFrames(f *testing.F) {
	f.Add([]byte{0x20, 2, 0, 0, 0x30, 5, 0, 1, 'a', 'x', 'y'})
	f.Add([]byte{0x32, 0xff, 0xff, 0xff, 0x7f, 0, 1, 'a', 0, 1})
	f.Add([]byte{0x90, 3, 0, 1, 0x80, 0xd0, 0})
	f.Add([]byte{0x36, 2, 0, 0})
	f.Add([]byte{0x30, 1, 0})
	const most = 64
	f.Fuzz(func(t *testing.T, stream []byte) {
		if again := mirrorOut(mirrorOut(stream)); !bytes.Equal(again, stream) {
			t.Fatalf("%x mirrored twice is %x", stream, again)
		}
		c := newFrameConn(&replay{in: bytes.NewReader(stream)}, most, time.Second)
		c.granted.Store(1)
		for range len(stream) + 1 {
			pk, err := packets.ReadPacket(c)
			if err != nil {
				return
			}
			switch pk := pk.(type) {
			case *packets.PublishPacket:
				if len(pk.Payload) > most+1 {
					t.Fatalf("a payload of %d bytes", len(pk.Payload))
				}
			case *packets.SubackPacket:
				if len(pk.ReturnCodes) != 1 {
					t.Fatalf("%d return codes", len(pk.ReturnCodes))
				}
			}
		}
		t.Fatal("more packets than bytes")
	})
}

// replay is a connection that was recorded.
type replay struct {
	net.Conn
	in io.Reader
}

func (r *replay) Read(p []byte) (int, error) { return r.in.Read(p) }

// TestIdentifiersAreMirrored checks each packet that has an identifier, in both
// directions.
func TestIdentifiersAreMirrored(t *testing.T) {
	for _, tc := range []struct {
		name string
		pk   packets.ControlPacket
		ours bool // the client chose the identifier
	}{
		{"SUBSCRIBE", &packets.SubscribePacket{FixedHeader: header(8, 1), MessageID: 1, Topics: []string{"t"}, Qoss: []byte{1}}, true},
		{"PUBLISH", &packets.PublishPacket{FixedHeader: header(3, 1), MessageID: 1, TopicName: "t", Payload: make([]byte, 1000)}, true},
		{"PUBLISH at QoS 0", &packets.PublishPacket{FixedHeader: header(3, 0), TopicName: "t", Payload: []byte{0, 1}}, false},
		{"PUBREL", &packets.PubrelPacket{FixedHeader: header(6, 1), MessageID: 1}, true},
		{"PUBACK", &packets.PubackPacket{FixedHeader: header(4, 0), MessageID: 1}, false},
		{"PUBREC", &packets.PubrecPacket{FixedHeader: header(5, 0), MessageID: 1}, false},
		{"PUBCOMP", &packets.PubcompPacket{FixedHeader: header(7, 0), MessageID: 1}, false},
	} {
		var b bytes.Buffer
		if err := tc.pk.Write(&b); err != nil {
			t.Fatal(err)
		}
		before := bytes.Clone(b.Bytes())
		after := mirrorOut(b.Bytes())
		if !bytes.Equal(b.Bytes(), before) {
			t.Errorf("%s: the packet itself was changed", tc.name)
		}
		if bytes.Equal(after, before) == tc.ours {
			t.Errorf("%s: %x became %x", tc.name, before, after)
		}
		if again := mirrorOut(after); !bytes.Equal(again, before) {
			t.Errorf("%s: %x mirrored twice is %x", tc.name, before, again)
		}
	}
	for name, stream := range map[string][]byte{
		"SUBACK": {0x90, 3, 0xff, 0xff, 1}, "PUBACK": {0x40, 2, 0xff, 0xff}, "PUBREC": {0x50, 2, 0xff, 0xff},
		"PUBCOMP": {0x70, 2, 0xff, 0xff}, "UNSUBACK": {0xb0, 2, 0xff, 0xff},
	} {
		c := newFrameConn(&replay{in: bytes.NewReader(stream)}, 10, time.Second)
		c.granted.Store(1)
		pk, err := packets.ReadPacket(c)
		if err != nil || pk.Details().MessageID != 1 {
			t.Errorf("%s: %v, %v", name, pk, err)
		}
	}
}

func header(kind, qos byte) packets.FixedHeader {
	return packets.FixedHeader{MessageType: kind, Qos: qos}
}

func TestFrames(t *testing.T) {
	for _, tc := range []struct {
		name   string
		stream []byte
		want   error
	}{
		{"five bytes of length (2.2.3)", []byte{0x30, 0xff, 0xff, 0xff, 0xff, 1}, &driver.Error{}},
		{"quality of service 3 (3.3.1.2)", []byte{0x36, 4, 0, 0, 0, 1}, &driver.Error{}},
		{"topic longer than the packet", []byte{0x30, 3, 0, 9, 'a'}, &driver.Error{}},
		{"no room for a topic", []byte{0x30, 1, 0, 0, 0}, &driver.Error{}},
		{"SUBACK for more than was asked", []byte{0x90, 4, 0, 1, 0, 0}, &driver.Error{}},
		{"PINGRESP with content", []byte{0xd0, 1, 0}, &driver.Error{}},
		{"a packet that only clients send", []byte{0x82, 6, 0, 1, 0, 1, 'a', 0}, &driver.Error{}},
		{"cut in the header", []byte{0x30}, io.ErrUnexpectedEOF},
		{"cut in the topic length", []byte{0x30, 9, 0}, io.ErrUnexpectedEOF},
	} {
		c := newFrameConn(&replay{in: bytes.NewReader(tc.stream)}, 10, time.Second)
		_, err := io.ReadAll(c)
		var fault *driver.Error
		if !errors.Is(err, tc.want) && (!errors.As(err, &fault) || fault.Code != driver.Protocol || !errors.As(tc.want, &fault)) {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}
