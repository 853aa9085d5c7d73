package spool_test

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/fieldloom/fieldloom/core/internal/spool"
)

// A gateway acknowledges to a driver what is stored; a reader goes on from a
// position, and is told what it missed.
func Example() {
	dir, err := os.MkdirTemp("", "spool")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	s, err := spool.Open(dir, spool.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()

	acked := make(chan uint64, 2)
	for n := uint64(1); n <= 2; n++ {
		s.Append(spool.Record{Driver: "modbus", Epoch: 1, Sequence: n, Data: []byte("batch")}, func(err error) {
			if err == nil {
				acked <- n
			}
		})
	}
	fmt.Println("acknowledge", <-acked, <-acked)

	for r := s.Read(0); ; {
		rec, _, err := r.Next()
		var loss *spool.LossError
		switch {
		case errors.As(err, &loss):
			fmt.Println("missed", loss.Records, loss.Cause)
		case errors.Is(err, io.EOF):
			fmt.Println("go on at", r.Position())
			return
		case err != nil:
			fmt.Println(err)
			return
		default:
			fmt.Println("send", rec.Driver, rec.Sequence, string(rec.Data))
		}
	}
	// Output:
	// acknowledge 1 2
	// send modbus 1 batch
	// send modbus 2 batch
	// go on at 3
}
