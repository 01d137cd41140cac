package dev.jobengine.client;

import java.io.Serializable;

/**
 * One wrong field of a request.
 *
 * @param field the field's path, for example {@code spec.args[2]}
 * @param description what is wrong, and what to do about it
 * @serial exclude
 */
public record FieldViolation(String field, String description) implements Serializable {}
