package simulator

import (
	"slices"
	"strconv"
	"time"
)

// Counts is what the simulator saw, whole and at one time for each device.
type Counts struct {
	Started time.Time               `json:"started"`
	Elapsed float64                 `json:"elapsed_s"`
	Total   Total                   `json:"total"`
	Servers map[string]ServerCounts `json:"servers"`
	Devices map[string]DeviceCounts `json:"devices"`
}

// Total is the sum over all devices.
type Total struct {
	Devices  int    `json:"devices"`
	Requests uint64 `json:"requests"`
	Answers  uint64 `json:"answers"`
	Polls    uint64 `json:"polls"`
	Writes   uint64 `json:"writes"`
	BytesIn  uint64 `json:"bytes_in"`
	BytesOut uint64 `json:"bytes_out"`
}

// ServerCounts is what one server saw that belongs to no single device.
type ServerCounts struct {
	Addr        string        `json:"addr"`
	Protocol    Protocol      `json:"protocol"`
	Connections uint64        `json:"connections"`      // accepted since the start; of a serial line, clients that sent something
	Open        int           `json:"open"`             // open now
	Stray       uint64        `json:"stray"`            // requests for no device of this server, or that are none
	AtOnce      uint64        `json:"at_once"`          // most Modbus requests that stood unanswered in a connection's buffer together: 1 proves nothing, more that a client pipelines
	Broker      *BrokerCounts `json:"broker,omitempty"` // of an MQTT server
}

// BrokerCounts is what a broker did with its devices' messages. When Dropped is 0, a session of
// QoS 1 that existed all the time was handed every message.
type BrokerCounts struct {
	Published uint64 `json:"published"` // messages of its devices
	Handed    uint64 `json:"handed"`    // times that a session took one at QoS 1, into memory that lasts until the session acknowledges it
	Unheard   uint64 `json:"unheard"`   // messages that no session took at QoS 1
	Dropped   uint64 `json:"dropped"`   // times that the broker gave up on a message for a session
	Acked     uint64 `json:"acked"`     // acknowledged by a session
	Sessions  int    `json:"sessions"`  // that exist now, connected or not
}

// DeviceCounts is what one device saw. The interval is the time from one poll to the next,
// polls as they were asked for, not as they were answered.
type DeviceCounts struct {
	Requests   uint64            `json:"requests"`             // all that arrived, answered or not
	Answers    uint64            `json:"answers"`              // fully written, spoilt ones included
	Polls      uint64            `json:"polls"`                // the slot: polls served, or messages sent
	Unserved   uint64            `json:"unserved,omitempty"`   // slot values that were given out and could not be written to their end: gaps in what a client can have
	Missed     uint64            `json:"missed,omitempty"`     // messages that were due and not sent: the device was held up, or under a fault longer than its period
	BytesIn    uint64            `json:"bytes_in"`             //
	BytesOut   uint64            `json:"bytes_out"`            //
	Functions  map[string]uint64 `json:"functions,omitempty"`  // Modbus requests by function code
	Exceptions map[string]uint64 `json:"exceptions,omitempty"` // Modbus exceptions by code
	Writes     uint64            `json:"writes"`               // writes executed
	First      *time.Time        `json:"first,omitempty"`      // of the first poll
	Last       *time.Time        `json:"last,omitempty"`       // of the last poll
	MinGap     float64           `json:"min_interval_s"`       //
	MaxGap     float64           `json:"max_interval_s"`       //
}

// Write is one write that a device executed.
type Write struct {
	Time    time.Time
	Point   string   // the point that was written, if it is one
	Value   any      // its value after the write: bool, int64, uint64, float64 or string
	Table   string   // of a Modbus device
	Address uint16   // of a Modbus device, the first
	Words   []uint16 // of a Modbus device, as written
}

// Writes that are remembered for a device; all are counted.
const keptWrites = 4096

// Slot values not written to their end that are remembered for a device; all are counted.
const keptUnserved = 4096

// tally is what a device counts. The device's mutex guards it.
type tally struct {
	requests, answers, polls  uint64
	bytesIn, bytesOut, writes uint64
	missed                    uint64
	issued                    uint64 // slot values given out
	unservedCount             uint64
	unserved                  []uint64
	functions                 [24]uint32 // by code; 0 is any other
	exceptions                [12]uint32 // by code; 0 is any other
	times                     timeline
	first, last               time.Time
	minGap, maxGap            time.Duration
	kept                      []Write
}

func (t *tally) function(code byte) {
	if int(code) >= len(t.functions) {
		code = 0
	}
	t.functions[code]++
}

func (t *tally) exception(code byte) {
	if int(code) >= len(t.exceptions) {
		code = 0
	}
	t.exceptions[code]++
}

// issue gives out the next slot value. served or withdraw must follow.
func (t *tally) issue() uint64 {
	t.issued++
	return t.issued
}

// served counts a poll that was asked for at a time and has now been answered to its end.
func (t *tally) served(start, at time.Time, limit int) {
	t.polls++
	t.times.add(at.Sub(start), limit)
	if t.first.IsZero() {
		t.first, t.last = at, at
		return
	}
	gap := at.Sub(t.last)
	t.last = at
	if t.polls == 2 || gap < t.minGap {
		t.minGap = gap
	}
	t.maxGap = max(t.maxGap, gap)
}

// unserve takes back what served counted last. The interval that it ended stays counted.
func (t *tally) unserve() {
	t.polls--
	t.times.drop()
}

// withdraw takes back a slot value whose answer could not be written to its end. When later
// values are out already, the hole stays and is counted.
func (t *tally) withdraw(slot uint64) {
	if t.issued == slot {
		t.issued--
		return
	}
	t.unservedCount++
	if len(t.unserved) < keptUnserved {
		t.unserved = append(t.unserved, slot)
	}
}

func (t *tally) wrote(w Write) {
	t.writes++
	if len(t.kept) < keptWrites {
		t.kept = append(t.kept, w)
	}
}

func (t *tally) counts() DeviceCounts {
	c := DeviceCounts{
		Requests: t.requests, Answers: t.answers, Polls: t.polls, Unserved: t.unservedCount, Missed: t.missed,
		BytesIn: t.bytesIn, BytesOut: t.bytesOut, Writes: t.writes,
		Functions: byCode(t.functions[:]), Exceptions: byCode(t.exceptions[:]),
		MinGap: t.minGap.Seconds(), MaxGap: t.maxGap.Seconds(),
	}
	if !t.first.IsZero() {
		first, last := t.first, t.last
		c.First, c.Last = &first, &last
	}
	return c
}

func byCode(counts []uint32) map[string]uint64 {
	var m map[string]uint64
	for code, n := range counts {
		if n == 0 {
			continue
		}
		if m == nil {
			m = make(map[string]uint64)
		}
		name := "other"
		if code > 0 {
			name = strconv.Itoa(code)
		}
		m[name] = uint64(n)
	}
	return m
}

// Resolution and range of the times kept: 4 bytes each, 11.9 hours from the start.
const (
	tick  = 10 * time.Microsecond
	chunk = 512
)

// timeline keeps times in 4 bytes each, in chunks so that growing copies nothing.
type timeline struct {
	chunks  [][]uint32
	n       int
	dropped uint64
}

func (t *timeline) add(since time.Duration, limit int) {
	ticks := since / tick
	if t.n >= limit || ticks < 0 || ticks > 1<<32-1 {
		t.dropped++
		return
	}
	if t.n%chunk == 0 {
		t.chunks = append(t.chunks, make([]uint32, 0, min(chunk, limit-t.n)))
	}
	last := len(t.chunks) - 1
	t.chunks[last] = append(t.chunks[last], uint32(ticks))
	t.n++
}

// drop removes the last time.
func (t *timeline) drop() {
	if t.dropped > 0 || t.n == 0 {
		t.dropped = max(t.dropped, 1) - 1
		return
	}
	last := len(t.chunks) - 1
	t.chunks[last] = t.chunks[last][:len(t.chunks[last])-1]
	if len(t.chunks[last]) == 0 {
		t.chunks = t.chunks[:last]
	}
	t.n--
}

func (t *timeline) all(start time.Time) []time.Time {
	out := make([]time.Time, 0, t.n)
	for _, c := range t.chunks {
		for _, ticks := range c {
			out = append(out, start.Add(time.Duration(ticks)*tick))
		}
	}
	return out
}

// Witness answers what the simulator saw. Its methods may be called at any time, also after Close.
type Witness struct{ sim *Simulator }

// Counts returns the counts of all servers and devices.
func (w *Witness) Counts() Counts {
	c := Counts{
		Started: w.sim.started,
		Elapsed: time.Since(w.sim.started).Seconds(),
		Servers: make(map[string]ServerCounts, len(w.sim.servers)),
		Devices: make(map[string]DeviceCounts, len(w.sim.devices)),
	}
	for name, s := range w.sim.servers {
		c.Servers[name] = s.Counts()
	}
	for name, d := range w.sim.devices {
		n := d.Counts()
		c.Devices[name] = n
		c.Total.Devices++
		c.Total.Requests += n.Requests
		c.Total.Answers += n.Answers
		c.Total.Polls += n.Polls
		c.Total.Writes += n.Writes
		c.Total.BytesIn += n.BytesIn
		c.Total.BytesOut += n.BytesOut
	}
	return c
}

// Device returns the counts of one device.
func (w *Witness) Device(name string) (DeviceCounts, bool) {
	d, ok := w.sim.devices[name]
	if !ok {
		return DeviceCounts{}, false
	}
	return d.Counts(), true
}

// Names returns the names of all devices, sorted.
func (w *Witness) Names() []string {
	names := make([]string, 0, len(w.sim.devices))
	for name := range w.sim.devices {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
