"""A tool for an agent: a calculator that cannot be made to run code."""

import ast
import operator


_BINARY = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_LARGEST, _LONGEST = 1e15, 200


def calculator(expression: str) -> str:
    """Evaluate an arithmetic expression.

    Args:
        expression: The expression with numbers, parentheses and + - * / // %, for example "(17 + 4) * 3".

    Returns:
        The result, or what is wrong with the expression.
    """
    # TRL shows the model this docstring; what goes wrong must reach the model as text, not end the training
    try:
        if len(expression) > _LONGEST:
            raise ValueError(f"an expression of more than {_LONGEST} characters")
        value = _value(ast.parse(expression.strip(), mode="eval").body)
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError, MemoryError) as error:
        return f"error: {error}"
    return str(int(value)) if value == int(value) else f"{value:.15g}"


def _value(node: ast.AST) -> float:
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        value = node.value
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = -_value(node.operand)
    elif isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        value = _BINARY[type(node.op)](_value(node.left), _value(node.right))
    else:
        raise ValueError("only numbers, parentheses and + - * / // % are allowed")
    if not abs(value) <= _LARGEST:
        raise ValueError(f"a number beyond {_LARGEST:g}")
    return value
