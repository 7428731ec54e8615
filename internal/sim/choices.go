package sim

import "math/rand/v2"

// choices are the numbers of one schedule: the given ones, followed by those of a source;
// zeros without a source.
type choices struct {
	source *rand.Rand
	given  []uint32
	taken  []uint32
}

func fromSeed(seed uint64) *choices {
	return &choices{source: rand.New(rand.NewPCG(seed, 0))}
}

func fromList(list []uint32) *choices { return &choices{given: list} }

// next returns a number below n.
func (c *choices) next(n int) int {
	var v uint32
	switch at := len(c.taken); {
	case at < len(c.given):
		v = c.given[at] % uint32(n)
	case c.source != nil:
		v = c.source.Uint32N(uint32(n))
	}
	c.taken = append(c.taken, v)
	return int(v)
}

// of returns 0 in all but one of n cases, and then a number from 1 to kinds. It consumes one
// number, so that a zero in a shrunk schedule means "nothing goes wrong".
func (c *choices) of(n, kinds int) int {
	v := c.next(n * kinds)
	if v == 0 || v > kinds {
		return 0
	}
	return v
}

// shrinkTries bounds how many schedules are run to make one shorter.
const shrinkTries = 2000

// shrink returns a list of choices that fails like list, with as few non-zero numbers as it
// can find.
func shrink(list []uint32, fails func([]uint32) bool) []uint32 {
	tries := 0
	try := func(next []uint32) bool {
		tries++
		return tries <= shrinkTries && fails(next)
	}
	for changed := true; changed; {
		changed = false
		for size := len(list) / 2; size > 0; size /= 2 {
			for from := 0; from+size <= len(list); from += size {
				if next := zeroed(list, from, size); next != nil && try(next) {
					list, changed = next, true
				}
			}
		}
	}
	for len(list) > 0 && list[len(list)-1] == 0 {
		list = list[:len(list)-1]
	}
	return list
}

// zeroed returns list with zeros in a range; nil if they are already there.
func zeroed(list []uint32, from, size int) []uint32 {
	next := append([]uint32(nil), list...)
	changed := false
	for i := from; i < from+size; i++ {
		changed = changed || next[i] != 0
		next[i] = 0
	}
	if !changed {
		return nil
	}
	return next
}
