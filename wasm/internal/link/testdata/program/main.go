// Command program does what needs the runtime's tables: it names its callers, in
// several goroutines, recovers from panics, has its stacks scanned and moved, and
// collects garbage. It writes the same wherever it runs.
package main

import (
	"fmt"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
)

//go:noinline
func callers() (names []string) {
	pcs := make([]uintptr, 20)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(1, pcs)])
	for {
		f, more := frames.Next()
		names = append(names, fmt.Sprintf("%s:%d", f.Function, f.Line))
		if !more {
			return names
		}
	}
}

type named struct{}

//go:noinline
func (named) method() []string { return func() []string { return callers() }() }

func deep(n int) int {
	var room [256]byte // has the stack grow
	room[n%256] = byte(n)
	if n == 0 {
		runtime.GC()
		return int(room[0])
	}
	return deep(n-1) + int(room[n%256])
}

func main() {
	fmt.Println(strings.Join(callers(), "\n"))
	fmt.Println(strings.Join(named{}.method(), "\n"))
	var all sync.WaitGroup
	found := make([][]string, 8)
	for i := range found {
		all.Go(func() {
			deep(1000)
			found[i] = named{}.method()
		})
	}
	all.Wait()
	for _, f := range found {
		fmt.Println(slices.Equal(f, found[0]), len(f))
	}
	func() {
		defer func() {
			r := recover()
			stack := regexp.MustCompile(`\([^()]*0x[^()]*\)|\+0x\w+|goroutine \d+`).ReplaceAllString(string(debug.Stack()), "")
			fmt.Println(r, stack)
		}()
		var none []int
		_ = none[len(found)]
	}()
	f := runtime.FuncForPC(func() uintptr { pc, _, _, _ := runtime.Caller(1); return pc }())
	fmt.Println(f.Name())
	for range 20 {
		keep := make(map[string][]byte)
		for i := range 1000 {
			keep[fmt.Sprint(i)] = make([]byte, 1000)
		}
		runtime.GC()
		if len(keep) != 1000 {
			panic("lost")
		}
	}
	panic("the end")
}
