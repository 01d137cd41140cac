package dev.jobengine.client.scenarios;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonNull;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.gson.JsonPrimitive;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import com.google.protobuf.MessageOrBuilder;
import com.google.protobuf.util.JsonFormat;
import java.util.Map;
import java.util.Optional;
import java.util.function.UnaryOperator;

/** Messages as examples have them, and how they are held against those. */
final class Json {
  private Json() {}

  static JsonElement of(MessageOrBuilder message) {
    try {
      return JsonParser.parseString(JsonFormat.printer().print(message));
    } catch (InvalidProtocolBufferException e) {
      throw new IllegalStateException(e);
    }
  }

  /** The message that the JSON means; unknown fields are an error. */
  static <B extends Message.Builder> B parse(JsonElement json, B message) {
    try {
      JsonFormat.parser().merge(json.toString(), message);
      return message;
    } catch (InvalidProtocolBufferException e) {
      throw new IllegalArgumentException(json.toString(), e);
    }
  }

  /** The same with each string in it replaced. */
  static JsonElement map(JsonElement value, UnaryOperator<String> function) {
    if (value instanceof JsonObject object) {
      JsonObject mapped = new JsonObject();
      object
          .entrySet()
          .forEach(entry -> mapped.add(entry.getKey(), map(entry.getValue(), function)));
      return mapped;
    }
    if (value instanceof JsonArray array) {
      JsonArray mapped = new JsonArray();
      array.forEach(element -> mapped.add(map(element, function)));
      return mapped;
    }
    if (value instanceof JsonPrimitive primitive && primitive.isString()) {
      return new JsonPrimitive(function.apply(primitive.getAsString()));
    }
    return value;
  }

  /** Where something isn't like the example. */
  static Optional<String> difference(JsonElement example, JsonElement actual) {
    if (example instanceof JsonObject object) {
      JsonObject found = actual instanceof JsonObject other ? other : new JsonObject();
      for (Map.Entry<String, JsonElement> field : object.entrySet()) {
        Optional<String> problem = difference(field.getValue(), found.get(field.getKey()));
        if (problem.isPresent()) {
          return problem.map(text -> "." + field.getKey() + text);
        }
      }
      return Optional.empty();
    }
    if (example instanceof JsonArray array) {
      JsonArray listed = actual instanceof JsonArray other ? other : new JsonArray();
      if (listed.size() != array.size()) {
        return Optional.of(": " + listed + " isn't " + array);
      }
      for (int i = 0; i < array.size(); i++) {
        Optional<String> problem = difference(array.get(i), listed.get(i));
        if (problem.isPresent()) {
          return problem;
        }
      }
      return Optional.empty();
    }
    return example.equals(actual) || (isDefault(example) && isDefault(actual))
        ? Optional.empty()
        : Optional.of(": " + actual + " isn't " + example);
  }

  private static boolean isDefault(JsonElement value) {
    if (value == null || value instanceof JsonNull) {
      return true;
    }
    if (value instanceof JsonPrimitive primitive) {
      return primitive.isString()
          ? primitive.getAsString().isEmpty()
          : primitive.isBoolean() ? !primitive.getAsBoolean() : primitive.getAsDouble() == 0;
    }
    return value instanceof JsonObject object ? object.isEmpty() : value.getAsJsonArray().isEmpty();
  }
}
