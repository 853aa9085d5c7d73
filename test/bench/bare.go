package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"net"
	"sync"
	"time"
)

// The bare loop is the limit that the gateway is measured against: the same
// polls of the same devices in the same slots by Go code that does nothing else,
// and throws the answers away.

// bareConn polls one device over one connection.
type bareConn struct {
	conn  net.Conn
	in    *bufio.Reader
	out   []byte // one request, or several back to back
	count int    // requests in out
}

func dialBare(addr string, registers, inFlight int) (*bareConn, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	b := &bareConn{conn: conn, in: bufio.NewReaderSize(conn, 4096), count: inFlight}
	for i := range inFlight {
		b.out = append(b.out, 0, byte(i), 0, 0, 0, 6, 1, 3)
		b.out = binary.BigEndian.AppendUint16(b.out, uint16(i*registers))
		b.out = binary.BigEndian.AppendUint16(b.out, uint16(registers))
	}
	return b, nil
}

// poll makes one exchange: all requests in one write, then all answers.
func (b *bareConn) poll() error {
	if _, err := b.conn.Write(b.out); err != nil {
		return err
	}
	for range b.count {
		if err := b.discard(); err != nil {
			return err
		}
	}
	return nil
}

func (b *bareConn) discard() error {
	head, err := b.in.Peek(6)
	if err != nil {
		return err
	}
	frame := 6 + int(binary.BigEndian.Uint16(head[4:]))
	head, err = b.in.Peek(frame)
	if err != nil {
		return err
	}
	if head[7] != 3 {
		return fmt.Errorf("function %d answered", head[7])
	}
	_, err = b.in.Discard(frame)
	return err
}

// bareSlots polls every address once a second for d, in 20 slots of 50 ms, one
// goroutine a device, and tells how many polls were made.
func bareSlots(addrs []string, registers int, d time.Duration) (int, error) {
	start := time.Now().Truncate(time.Second).Add(2 * time.Second)
	polls := make([]int, len(addrs))
	errs := make([]error, len(addrs))
	var wg sync.WaitGroup
	for i, addr := range addrs {
		b, err := dialBare(addr, registers, 1)
		if err != nil {
			return 0, err
		}
		wg.Go(func() {
			defer b.conn.Close()
			due := start.Add(time.Duration(i%20) * 50 * time.Millisecond)
			for ; due.Before(start.Add(d)); due = due.Add(time.Second) {
				time.Sleep(time.Until(due))
				if errs[i] = b.poll(); errs[i] != nil {
					return
				}
				polls[i]++
			}
		})
	}
	wg.Wait()
	total := 0
	for i := range polls {
		if errs[i] != nil {
			return 0, fmt.Errorf("device %s: %w", addrs[i], errs[i])
		}
		total += polls[i]
	}
	return total, nil
}

// slotsASecond is how many slots the polls of a second are spread over, as the engine does.
const slotsASecond = 20

// A lean loop polls as bareSlots does, from one goroutine: the requests of a slot are all written,
// and then their answers read in turn, most of which have come meanwhile. It is about the least
// that plain Go takes.
type lean [slotsASecond][]*bareConn

// dialLean connects; that is no part of what is measured.
func dialLean(addrs []string, registers int) (slots *lean, err error) {
	slots = new(lean)
	for i, addr := range addrs {
		b, err := dialBare(addr, registers, 1)
		if err != nil {
			return nil, err
		}
		b.in = bufio.NewReaderSize(b.conn, 512)
		slots[i%slotsASecond] = append(slots[i%slotsASecond], b)
	}
	return slots, nil
}

func (slots *lean) run(d time.Duration) (int, error) {
	polls := 0
	start := time.Now().Truncate(time.Second).Add(2 * time.Second)
	for at, n := start, 0; at.Before(start.Add(d)); at, n = at.Add(time.Second/slotsASecond), n+1 {
		time.Sleep(time.Until(at))
		slot := slots[n%slotsASecond]
		for _, b := range slot {
			if _, err := b.conn.Write(b.out); err != nil {
				return 0, err
			}
		}
		for _, b := range slot {
			if err := b.discard(); err != nil {
				return 0, err
			}
		}
		polls += len(slot)
	}
	return polls, nil
}

// bareFlatOut polls one device as fast as it answers and tells the requests made.
func bareFlatOut(addr string, registers, inFlight int, d time.Duration) (int, error) {
	b, err := dialBare(addr, registers, inFlight)
	if err != nil {
		return 0, err
	}
	defer b.conn.Close()
	n := 0
	for end := time.Now().Add(d); time.Now().Before(end); n += inFlight {
		if err := b.poll(); err != nil {
			return n, err
		}
	}
	return n, nil
}
