package scenarios

import (
	"encoding/json"
	"fmt"
	"reflect"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// difference returns where something isn't like the example.
func difference(example, actual any) error {
	switch example := example.(type) {
	case map[string]any:
		found, _ := actual.(map[string]any)
		for key, value := range example {
			if err := difference(value, found[key]); err != nil {
				return fmt.Errorf(".%s%w", key, err)
			}
		}
		return nil
	case []any:
		listed, _ := actual.([]any)
		if len(listed) != len(example) {
			return fmt.Errorf(": %v isn't %v", listed, example)
		}
		for i := range example {
			if err := difference(example[i], listed[i]); err != nil {
				return fmt.Errorf("[%d]%w", i, err)
			}
		}
		return nil
	}
	if isUnset(example) && isUnset(actual) || reflect.DeepEqual(example, actual) {
		return nil
	}
	return fmt.Errorf(": %v isn't %v", actual, example)
}

// isUnset tells whether a value is unset or a default, which examples don't tell apart.
func isUnset(value any) bool {
	return value == nil || reflect.ValueOf(value).IsZero()
}

// asJSON returns what came back as examples have it.
func asJSON(result any) (any, error) {
	message, ok := result.(proto.Message)
	if !ok {
		return result, nil
	}
	text, err := protojson.Marshal(message)
	if err != nil {
		return nil, err
	}
	var value map[string]any
	err = json.Unmarshal(text, &value)
	return value, err
}
