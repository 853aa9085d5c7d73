package confine_test

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// thirtyTwoBits asks for its number by the 32-bit gate, past a filter that knows
// 64-bit numbers only.
func thirtyTwoBits(*scene) error {
	page, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE|unix.PROT_EXEC, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return err
	}
	copy(page, []byte{
		0xb8, 20, 0, 0, 0, // mov eax, 20: getpid
		0xcd, 0x80, // int 0x80
		0xc3, // ret
	})
	code := &page[0]
	function := &code // a func is a pointer to a pointer to code
	(*(*func())(unsafe.Pointer(&function)))()
	fmt.Println("and lived")
	return nil
}
