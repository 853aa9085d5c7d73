// Command blank is the least that a gateway and its drivers could be: a parent, and
// children that it tells once a second that it is there, as they tell it. With a number
// it is the parent of so many children and prints their process ids; without one it is a
// child. It ends with its standard input.
package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "blank:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		go beat(os.Stdout)
		return listen(os.Stdin)
	}
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	for range n {
		pid, err := child()
		if err != nil {
			return err
		}
		fmt.Println(pid)
	}
	return listen(os.Stdin)
}

// child starts one child and exchanges signs of life with it. It ends when this
// process does, because its standard input ends.
func child() (pid int, err error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	cmd := exec.Command(self)
	cmd.Stderr = os.Stderr
	to, err := cmd.StdinPipe()
	if err != nil {
		return 0, err
	}
	from, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	go beat(to)
	go listen(from)
	return cmd.Process.Pid, nil
}

// beat writes a line a second until it cannot.
func beat(to io.Writer) {
	for range time.Tick(time.Second) {
		if _, err := fmt.Fprintln(to); err != nil {
			return
		}
	}
}

// listen reads lines to their end.
func listen(from io.Reader) error {
	lines := bufio.NewScanner(from)
	for lines.Scan() {
		continue
	}
	return lines.Err()
}
