package storetest

import (
	"testing"

	"github.com/anishathalye/porcupine"
)

// The model distinguishes histories that a store can have from those that it cannot.
func TestRegisters(t *testing.T) {
	op := func(call, end int64, a action, s sight) porcupine.Operation {
		a.key = "k"
		return porcupine.Operation{Input: a, Output: s, Call: call, Return: end}
	}
	put := func(expect, id int64) action { return action{verb: verbPut, expect: expect, id: id} }
	remove := func(expect int64) action { return action{verb: verbDelete, expect: expect} }
	read := action{verb: verbRead}
	done, conflict, missing, unknown := sight{result: resultDone}, sight{result: resultConflict}, sight{result: resultMissing}, sight{result: resultUnknown}
	for _, tc := range []struct {
		name    string
		history []porcupine.Operation
		want    bool
	}{
		{"one after the other", []porcupine.Operation{op(1, 2, put(0, 1), done), op(3, 4, put(1, 2), done), op(5, 6, read, sight{id: 2})}, true},
		{"two winners", []porcupine.Operation{op(1, 4, put(0, 1), done), op(2, 3, put(0, 2), done)}, false},
		{"one winner", []porcupine.Operation{op(1, 4, put(0, 1), done), op(2, 3, put(0, 2), conflict)}, true},
		{"no winner", []porcupine.Operation{op(1, 4, put(0, 1), conflict), op(2, 3, put(0, 2), conflict)}, false},
		{"a read of the past", []porcupine.Operation{op(1, 2, put(0, 1), done), op(3, 4, read, sight{id: noArchive})}, false},
		{"a read meanwhile", []porcupine.Operation{op(1, 4, put(0, 1), done), op(2, 3, read, sight{id: noArchive})}, true},
		{"back and forth", []porcupine.Operation{op(1, 9, put(0, 1), done), op(2, 3, read, sight{id: 1}), op(4, 5, read, sight{id: noArchive})}, false},
		{"a lost update", []porcupine.Operation{op(1, 2, put(0, 1), done), op(3, 4, put(1, 2), done), op(5, 6, put(1, 3), done)}, false},
		{"an archive that nobody wrote", []porcupine.Operation{op(1, 2, read, sight{id: 7})}, false},
		{"unknown, never", []porcupine.Operation{op(1, never, put(0, 1), unknown), op(3, 4, read, sight{id: noArchive})}, true},
		{"unknown, late", []porcupine.Operation{op(1, never, put(0, 1), unknown), op(3, 4, read, sight{id: noArchive}), op(5, 6, read, sight{id: 1})}, true},
		{"unknown, too late", []porcupine.Operation{op(1, never, put(0, 1), unknown), op(3, 4, put(0, 2), done), op(5, 6, read, sight{id: 1})}, false},
		{"removed", []porcupine.Operation{op(1, 2, put(0, 1), done), op(3, 4, remove(1), done), op(5, 6, read, sight{id: noArchive}), op(7, 8, remove(1), missing)}, true},
		{"removed another", []porcupine.Operation{op(1, 2, put(0, 1), done), op(3, 4, put(1, 2), done), op(5, 6, remove(1), done)}, false},
		{"not there, but it is", []porcupine.Operation{op(1, 2, put(0, 1), done), op(3, 4, remove(1), missing)}, false},
		{"removed and replaced", []porcupine.Operation{op(1, 2, put(0, 1), done), op(3, 6, remove(1), done), op(4, 5, put(1, 2), done)}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := porcupine.CheckOperations(registers, tc.history); got != tc.want {
				t.Errorf("the model says %v, want %v", got, tc.want)
			}
		})
	}
}
