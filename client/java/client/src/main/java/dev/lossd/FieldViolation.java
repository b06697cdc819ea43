// SPDX-License-Identifier: Apache-2.0

package dev.lossd;

/**
 * What is wrong with one argument.
 *
 * @param field the argument's name in torch, such as "label_smoothing", or a path that begins with
 *     it
 * @param description what is wrong
 */
public record FieldViolation(String field, String description) {}
